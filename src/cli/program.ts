import { Command } from 'commander';
import { addBackupCommands } from './backup.js';
import { addBitmapCommands } from './bitmap.js';
import { addClientCommands } from './client.js';
import { readVersion } from './command-line.js';
import { addCompletionCommand } from './completion.js';
import { addDoctorCommand } from './doctor.js';
import { addEventsCommand } from './events.js';
import { addExportCommands } from './export.js';
import { reportFailure } from './failure.js';
import { addMapCommand } from './map/map-command.js';
import { addPageCommand } from './page.js';
import { addPointsCommand } from './points.js';
import { addPruneCommand } from './prune.js';
import { addPullCommand } from './pull.js';
import { addReloadCommand } from './reload.js';
import { addRepairCommand } from './repair.js';
import { addRestoreCommand } from './restore.js';
import { addServeCommand } from './serve.js';
import { addStateCommands } from './state.js';
import { addThresholdCommands } from './threshold.js';
import { addTlsCommands } from './tls.js';
import { addTokenCommands } from './token.js';
import { addTopCommand } from './top/top-command.js';
import { addVerifyCommand } from './verify.js';

const DONE = 0;

/** Runs one command line, without the program's name. Resolves to the exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  const program = buildProgram();
  try {
    await program.parseAsync(args, { from: 'user' });
    return DONE;
  } catch (error) {
    return reportFailure(error, args.includes('--json'));
  }
}

/** All commands and their options. @public for the generated man page */
export function buildProgram(): Command {
  const program = new Command('tidemark')
    .description('An NBD server that remembers what changed.')
    .version(readVersion())
    // Subcommands inherit this option.
    .helpOption('-h, --help', 'show this help')
    .showHelpAfterError(false)
    .showSuggestionAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  addServeCommand(program);
  addReloadCommand(program);
  addExportCommands(program);
  addBitmapCommands(program);
  addBackupCommands(program);
  addEventsCommand(program);
  addThresholdCommands(program);
  addClientCommands(program);
  addTopCommand(program);
  addTokenCommands(program);
  addPageCommand(program);
  addMapCommand(program);
  addPullCommand(program);
  addPointsCommand(program);
  addVerifyCommand(program);
  addRestoreCommand(program);
  addPruneCommand(program);
  addRepairCommand(program);
  addStateCommands(program);
  addTlsCommands(program);
  addDoctorCommand(program);
  addCompletionCommand(program);
  return program;
}
