import type { Command } from 'commander';
import type { ReloadReport } from '../api/reload.js';
import { type CommonOptions, controlClient, print, withCommonOptions } from './command-line.js';

const help = `
Prints what has changed, and what the configuration says but is not in effect, with the reason. If anything in the
configuration is wrong, the command fails and the server goes on as before. tidemark serve --check tests a file.`;

export function addReloadCommand(program: Command): void {
  withCommonOptions(
    program.command('reload').description('make the server read its configuration, certificates and keys again'),
  )
    .addHelpText('after', help)
    .action(async (options: CommonOptions) => {
      print(options, await controlClient(options).post<ReloadReport>(['reload']), describe);
    });
}

function describe({ applied, notApplied }: ReloadReport): string {
  const refused = notApplied.map(({ setting, why }) => `not applied: ${setting}: ${why}`);
  const lines = [...applied, ...refused];
  return lines.length > 0 ? lines.join('\n') : 'no setting has changed; certificates and keys were read again';
}
