import type { Command } from 'commander';
import type { ExportDescription } from '../../api/export.js';
import { CodedError } from '../../base/coded-error.js';
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

/** Asks the server how to reach the export. */
async function findExport(exportName: string, options: Options): Promise<NbdTarget> {
  const { uri } = await controlClient(options).get<ExportDescription>('exports', exportName);
  if (uri !== '') return parseNbdUri(uri);
  const hint = 'start it with --listen or --unix, and for other machines with --listen ADDRESS:PORT';
  throw new CodedError(
    'NO_SERVER',
    'the server does not listen for NBD clients at an address that this one can reach',
    hint,
  );
}
