import { type Command, InvalidArgumentError } from 'commander';
import type { Client } from '../api/export.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  withCommonOptions,
} from './command-line.js';

export function addClientCommands(program: Command): void {
  const group = program.command('client').description('manage the connected NBD clients');

  withCommonOptions(group.command('list').description('list the clients of all exports and views')).action(
    async (options: CommonOptions) => {
      const answer = await controlClient(options).get<{ clients: Client[] }>('clients');
      print(options, answer, ({ clients }) => clientTable(clients));
    },
  );

  withCommonOptions(
    group
      .command('disconnect')
      .argument('<ID>', 'the ID that tidemark client list shows', idArgument)
      .description('finish the requests of a client, and close its connection'),
  )
    .addHelpText('after', '\nThe client is free to connect again.')
    .action(async (id: number, options: CommonOptions) => {
      await controlClient(options).delete(['clients', String(id)]);
      print(options, { disconnected: id }, () => `disconnected ${id}`);
    });
}

function idArgument(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('Expected the number of a client.');
  return Number(text);
}

function clientTable(clients: readonly Client[]): string {
  const rows = clients.map(({ id, client, export: name, tls, bytesRead, bytesWritten, connectedAt }) => [
    String(id),
    client,
    name,
    tls,
    formatSize(bytesRead),
    formatSize(bytesWritten),
    connectedAt,
  ]);
  return formatTable(['ID', 'ADDRESS', 'EXPORT', 'TLS', 'READ', 'WRITTEN', 'SINCE'], rows, [0, 4, 5]);
}
