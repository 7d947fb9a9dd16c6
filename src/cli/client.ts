import { type Command, InvalidArgumentError } from 'commander';
import type { Client } from '../api/export.js';
import { CodedError } from '../base/coded-error.js';
import { formatCount } from '../base/units.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  withCommonOptions,
} from './command-line.js';
import type { ControlClient } from './control-client.js';

interface DisconnectOptions extends CommonOptions {
  readonly export?: string;
}

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
      .argument('[ID]', 'the ID that tidemark client list shows', idArgument)
      .description('finish the requests of a client, and close its connection'),
  )
    .option('--export <NAME>', 'all clients of this export or view, in place of one')
    .addHelpText('after', '\nA client is free to connect again.')
    .action(async (id: number | undefined, options: DisconnectOptions) => {
      if ((id === undefined) === (options.export === undefined)) throw chooseOne();
      const client = controlClient(options);
      if (options.export !== undefined) {
        const disconnected = await disconnectAll(client, options.export);
        print(options, { disconnected }, () => `disconnected ${formatCount(disconnected.length, 'client')}`);
      } else {
        await client.delete(['clients', String(id)]);
        print(options, { disconnected: id }, () => `disconnected ${id}`);
      }
    });
}

/** Returns the IDs of those that were disconnected. */
async function disconnectAll(control: ControlClient, exportName: string): Promise<number[]> {
  const { clients } = await control.get<{ clients: Client[] }>('clients');
  const ids = clients.filter((client) => client.export === exportName).map(({ id }) => id);
  const gone = await Promise.all(ids.map((id) => disconnect(control, id)));
  return ids.filter((_, i) => gone[i]);
}

/** Whether the client was still there. */
async function disconnect(control: ControlClient, id: number): Promise<boolean> {
  try {
    await control.delete(['clients', String(id)]);
    return true;
  } catch (error) {
    if (error instanceof CodedError && error.code === 'CLIENT_NOT_FOUND') return false;
    throw error;
  }
}

function chooseOne(): CodedError {
  return new CodedError(
    'USAGE_INVALID',
    'give either the ID of a client or --export',
    'tidemark client list shows both',
  );
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
