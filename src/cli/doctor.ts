import { resolve } from 'node:path';
import type { Command } from 'commander';
import { CodedError } from '../base/coded-error.js';
import type { Finding } from '../doctor/finding.js';
import { formatTable, print, withOfflineOptions } from './command-line.js';
import { readVersion } from './version.js';

interface Report {
  readonly version: string;
  readonly findings: readonly Finding[];
}

export function addDoctorCommand(program: Command): void {
  withOfflineOptions(
    program.command('doctor [DIR]').description('print what this machine offers to a server, and what is missing'),
  )
    .addHelpText('after', '\nDIR is where disks lie, or will lie (default: here). Nothing is left in it.')
    .action(async (folder: string | undefined, options: { json?: boolean }) => {
      // Loaded by this command alone, as what only a server needs.
      const { probeMachine } = await import('../doctor/probe-machine.js');
      const report = { version: readVersion(), findings: await probeMachine(resolve(folder ?? '.')) };
      print(options, report, describe);
      const fatal = report.findings.filter(({ state }) => state === 'fatal');
      if (fatal.length === 0) return;
      const subjects = fatal.map(({ subject }) => subject).join(', ');
      throw new CodedError('NO_SERVER', `a server does not run here: ${subjects}`, 'mend what is fatal above');
    });
}

function describe({ version, findings }: Report): string {
  const rows = findings.map(({ subject, state, detail }) => [subject, state, detail]);
  return `tidemark ${version}\n\n${formatTable(['SUBJECT', 'STATE', 'DETAIL'], rows)}`;
}
