import type { Command } from 'commander';
import type { Server } from '../../api/server.js';
import { CodedError } from '../../base/coded-error.js';
import { reachableHost } from '../../base/host-port.js';
import { looksLikeNbdUri, type NbdTarget, parseNbdUri } from '../../client/nbd-uri.js';
import { type CommonOptions, controlClient, withCommonOptions } from '../command-line.js';
import { tlsFilesOf } from '../credential-files.js';
import { writeStyled } from '../output.js';

interface Options extends CommonOptions {
  readonly context?: string;
}

export function addMapCommand(program: Command): void {
  withCommonOptions(
    program.command('map').description('draw which parts of a disk are allocated and dirty, or list them with --json'),
  )
    .argument('<EXPORT|NBD-URI>', 'an export of the server, or the URI of an export of any NBD server')
    .option(
      '--context <NAME>',
      'the metadata context or dirty bitmap to show (default: allocation and all dirty bitmaps)',
    )
    .action(async (name: string, options: Options) => {
      const { outputScreen, renderMap } = await import('./map.js');
      const target = looksLikeNbdUri(name) ? parseNbdUri(name) : await findExport(name, options);
      writeStyled(
        process.stdout,
        `${await renderMap(target, { ...options, tls: tlsFilesOf(options) }, outputScreen())}\n`,
      );
    });
}

/** Asks the server for its NBD address. */
async function findExport(exportName: string, options: Options): Promise<NbdTarget> {
  const client = controlClient(options);
  await client.get('exports', exportName);
  const { nbd } = await client.get<Server>('server');
  if (nbd.unix !== undefined) return { address: { socketPath: nbd.unix }, exportName };
  const [address] = nbd.tcp;
  if (address) return { address: { ...address, host: reachableHost(address.host) }, exportName };
  throw new CodedError('NO_SERVER', 'the server does not listen for NBD clients', 'start it with --listen or --unix');
}
