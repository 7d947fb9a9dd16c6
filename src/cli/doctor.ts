import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CodedError } from '../base/coded-error.js';
import type { Finding } from '../doctor/finding.js';
import { formatTable, print, readVersion, withOfflineOptions } from './command-line.js';

interface Report {
  readonly version: string;
  readonly findings: readonly Finding[];
}

export function addDoctorCommand(program: Command): void {
  withOfflineOptions(
    program.command('doctor [DIR]').description('check what this machine offers a server, and what is missing'),
  )
    .addHelpText('after', '\nDIR is the folder for the disks (default: the current one). Nothing is left behind in it.')
    .action(async (folder: string | undefined, options: { json?: boolean }) => {
      // Loaded only here, because the other commands do not need it.
      const { probeMachine } = await import('../doctor/probe-machine.js');
      const report = { version: readVersion(), findings: await probeMachine(resolve(folder ?? '.')) };
      print(options, report, describe);
      const fatal = report.findings.filter(({ state }) => state === 'fatal');
      if (fatal.length === 0) return;
      const subjects = fatal.map(({ subject }) => subject).join(', ');
      throw new CodedError('NO_SERVER', `a server cannot run here: ${subjects}`, 'fix what the table shows as fatal');
    });
}

function describe({ version, findings }: Report): string {
  const rows = findings.map(({ subject, state, detail }) => [subject, state, detail]);
  return `tidemark ${version}\n\n${formatTable(['SUBJECT', 'STATE', 'DETAIL'], rows)}`;
}
