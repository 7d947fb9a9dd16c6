import { Command, CommanderError } from 'commander';
import { CodedError } from '../base/coded-error.js';
import { AgentError } from '../client/agent/agent-error.js';
import { NbdClientError, NbdUriError } from '../client/errors.js';
import { addBackupCommands } from './backup.js';
import { addBitmapCommands } from './bitmap.js';
import { addClientCommands } from './client.js';
import { addCompletionCommand } from './completion.js';
import { addDoctorCommand } from './doctor.js';
import { addExportCommands } from './export.js';
import { addMapCommand } from './map-command.js';
import { writeLine, writeText } from './output.js';
import { addPruneCommand } from './prune.js';
import { addPullCommand } from './pull.js';
import { addRepairCommand } from './repair.js';
import { addRestoreCommand } from './restore.js';
import { addServeCommand } from './serve.js';
import { addStateCommands } from './state.js';
import { addVerifyCommand } from './verify.js';
import { readVersion } from './version.js';

const DONE = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** Errors that only another command line, or configuration, can mend. */
const usageErrors = new Set<string>(['CONFIG_INVALID', 'EXPORT_INVALID']);

/** Runs one command line, without the program's name. Resolves to the exit code. */
export async function runCli(args: readonly string[]): Promise<number> {
  const program = buildProgram();
  try {
    await program.parseAsync(args, { from: 'user' });
    return DONE;
  } catch (error) {
    return report(error);
  }
}

/** All commands and their options. @public for what describes them. */
export function buildProgram(): Command {
  const program = new Command('tidemark')
    .description('An NBD server that remembers what changed.')
    .version(readVersion())
    // The commands below inherit it.
    .helpOption('-h, --help', 'show this help')
    .showHelpAfterError(false)
    .showSuggestionAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} });
  addServeCommand(program);
  addExportCommands(program);
  addBitmapCommands(program);
  addBackupCommands(program);
  addClientCommands(program);
  addMapCommand(program);
  addPullCommand(program);
  addVerifyCommand(program);
  addRestoreCommand(program);
  addPruneCommand(program);
  addRepairCommand(program);
  addStateCommands(program);
  addDoctorCommand(program);
  addCompletionCommand(program);
  return program;
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return reportUsage(error);
  if (error instanceof CodedError || error instanceof NbdClientError || error instanceof AgentError) {
    const { message, hint } = error;
    writeLine(process.stderr, `tidemark: ${message}${hint === '' ? '' : ` (${hint})`}`);
    const isUsage = error instanceof NbdUriError || (error instanceof CodedError && usageErrors.has(error.code));
    return isUsage ? WRONG_USAGE : FAILED;
  }
  writeText(process.stderr, `tidemark: ${(error as Error).stack ?? error} (this is a bug; please report it)\n`);
  return FAILED;
}

function reportUsage({ code, message, exitCode }: CommanderError): number {
  if (exitCode === 0) return DONE;
  // A group without its command: commander has shown the help.
  if (code === 'commander.help') return WRONG_USAGE;
  writeLine(process.stderr, `tidemark: ${message.replace(/^error: /, '').replace(/\.$/, '')} (see tidemark --help)`);
  return WRONG_USAGE;
}
