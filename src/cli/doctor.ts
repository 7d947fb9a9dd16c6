import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CodedError } from '../base/coded-error.js';
import type { Finding } from '../doctor/finding.js';
import { formatTable, print, readVersion, withOfflineOptions } from './command-line.js';

interface Report {
  readonly version: string;
  readonly findings: readonly Finding[];
}

interface Options {
  readonly json?: boolean;
  readonly tls?: string;
}

export function addDoctorCommand(program: Command): void {
  withOfflineOptions(
    program.command('doctor [DIR]').description('check what this machine offers a server, and what is missing'),
  )
    .option('--tls <PATH>', 'check a folder of certificates or a file of keys instead')
    .addHelpText('after', '\nDIR is the folder for the disks (default: the current one). Nothing is left behind in it.')
    .action(async (folder: string | undefined, options: Options, command: Command) => {
      if (folder !== undefined && options.tls !== undefined) command.error('error: give DIR or --tls, not both');
      const report = { version: readVersion(), findings: await probe(folder, options.tls) };
      print(options, report, describe);
      const fatal = report.findings.filter(({ state }) => state === 'fatal');
      if (fatal.length === 0) return;
      const subjects = fatal.map(({ subject }) => subject).join(', ');
      const hint = 'fix what the table shows as fatal';
      if (options.tls !== undefined) {
        throw new CodedError('TLS_UNUSABLE', `${options.tls} cannot be used for TLS: ${subjects}`, hint);
      }
      throw new CodedError('NO_SERVER', `a server cannot run here: ${subjects}`, hint);
    });
}

/** The checks are loaded only here, because the other commands do not need them. */
async function probe(folder: string | undefined, tls: string | undefined): Promise<Finding[]> {
  if (tls !== undefined) return await (await import('../doctor/probe-tls.js')).probeTls(resolve(tls));
  return await (await import('../doctor/probe-machine.js')).probeMachine(resolve(folder ?? '.'));
}

function describe({ version, findings }: Report): string {
  const rows = findings.map(({ subject, state, detail }) => [subject, state, detail]);
  return `tidemark ${version}\n\n${formatTable(['SUBJECT', 'STATE', 'DETAIL'], rows)}`;
}
