import type { Static } from '@fastify/type-provider-typebox';
import type { Command } from 'commander';
import { CodedError } from '../../base/coded-error.js';
import { looksLikeNbdUri, type NbdTarget, parseNbdUri } from '../../client/nbd-uri.js';
import type { Server } from '../../control/schemas/server.js';
import { type CommonOptions, controlClient, withCommonOptions } from '../command-line.js';
import { writeStyled } from '../output.js';
import { outputScreen, renderMap } from './map.js';

interface Options extends CommonOptions {
  readonly context?: string;
}

export function addMapCommand(program: Command): void {
  withCommonOptions(program.command('map').description('draw what is allocated and dirty, or list it with --json'))
    .argument('<EXPORT|NBD-URI>', 'an export of the server, or of any NBD server by its URI')
    .option('--context <NAME>', 'one metadata context, or a dirty bitmap by its name (default: all)')
    .action(async (name: string, options: Options) => {
      const target = looksLikeNbdUri(name) ? parseNbdUri(name) : await findExport(name, options);
      writeStyled(process.stdout, `${await renderMap(target, options, outputScreen())}\n`);
    });
}

/** Asks the server where it serves NBD. */
async function findExport(exportName: string, options: Options): Promise<NbdTarget> {
  const client = controlClient(options);
  await client.get('exports', exportName);
  const { nbd } = await client.get<Static<typeof Server>>('server');
  if (nbd.unix !== undefined) return { address: { socketPath: nbd.unix }, exportName };
  const [address] = nbd.tcp;
  if (address) return { address: { ...address, host: reachable(address.host) }, exportName };
  throw new CodedError('NO_SERVER', 'the server serves no NBD', 'start it with --listen or --unix');
}

/** An address to connect to, in place of one that means "all of them". */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}
