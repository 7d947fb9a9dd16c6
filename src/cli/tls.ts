import { hostname } from 'node:os';
import { type Command, InvalidArgumentError } from 'commander';
import type { InitResult } from '../tls/init/init-tls.js';
import { print, withOfflineOptions } from './command-line.js';

interface InitOptions {
  readonly json?: boolean;
  readonly host: readonly string[];
  readonly client: readonly string[];
  readonly psk: readonly string[];
  readonly days: number;
}

const DEFAULT_DAYS = 730;
const MAX_DAYS = 3650;

const help = `
Makes a certificate authority in DIR/ca, certificates for a server in DIR/server, and those of each client in
DIR/clients/NAME. Each of these folders is what one machine needs: copy it there over a safe channel. DIR/ca stays where
it is: whoever has its key can make certificates that your servers trust. With --psk, clients get keys instead, which
both sides have in one file, DIR/keys.psk.

Without --host, --client and --psk, it makes certificates for a server on this machine and for one client, "backup". In
a directory that has an authority already, it adds what is asked for. It replaces nothing.

  tidemark tls init /root/tls --host vm1.example --host 10.0.0.7 --client backup
  tidemark tls init /root/tls --client backup2
  tidemark tls init /root/tls --psk alice`;

export function addTlsCommands(program: Command): void {
  const group = program.command('tls').description('certificates and keys');
  withOfflineOptions(group.command('init <DIR>').description('make certificates or keys, for people who have none'))
    .option('--host <NAME>', 'name or address by which clients reach the server; may be repeated', collect, [])
    .option('--client <NAME>', 'make a certificate for a client of this name; may be repeated', collect, [])
    .option('--psk <USER>', 'make a key for a client of this name; may be repeated', collect, [])
    .option('--days <N>', 'how long the certificates of servers and clients are valid', daysArgument, DEFAULT_DAYS)
    .addHelpText('after', help)
    .action(async (directory: string, options: InitOptions) => {
      // Loaded only here, because it takes some 100 ms.
      const { initTls } = await import('../tls/init/init-tls.js');
      const { days } = options;
      print(options, await initTls({ directory, days, ...whatToMake(options) }), describe);
    });
}

function whatToMake({ host: hosts, client: clients, psk: users }: InitOptions) {
  if (hosts.length + clients.length + users.length > 0) return { hosts, clients, users };
  return { hosts: [...new Set([hostname(), 'localhost', '127.0.0.1', '::1'])], clients: ['backup'], users };
}

function describe({ authority, server, clients, keys }: InitResult): string {
  return [
    ...(authority === undefined ? [] : [`${authority}: the authority. Keep it, and keep ca-key.pem secret`]),
    ...(server === undefined ? [] : [`${server}: copy it to the server, for tidemark serve --tls-certificates`]),
    ...clients.map(({ name, path }) => `${path}: copy it to the client; rules call it cn:${name}`),
    ...(keys === undefined
      ? []
      : [`${keys}: copy it to the server, and to each client its own line; both give it with --tls-psk`]),
  ].join('\n');
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}

/** Argument parser for commander: a number of days. */
function daysArgument(text: string): number {
  const days = Number(text);
  if (!Number.isInteger(days) || days < 1 || days > MAX_DAYS)
    throw new InvalidArgumentError(`Expected 1 to ${MAX_DAYS}.`);
  return days;
}
