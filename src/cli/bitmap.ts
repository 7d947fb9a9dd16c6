import type { Command } from 'commander';
import type { Bitmap } from '../api/bitmap.js';
import { formatExactSize } from '../base/units.js';
import {
  type CommonOptions,
  controlClient,
  formatSize,
  formatTable,
  print,
  sizeArgument,
  withCommonOptions,
} from './command-line.js';

interface AddOptions extends CommonOptions {
  readonly granularity?: number;
  readonly disabled?: boolean;
  readonly transient?: boolean;
}

const help = `
A dirty bitmap has one bit for each granule of a disk (64 KiB by default). The bit is set if the granule was written
since the bitmap was added or cleared. Backup tools read the bitmap over NBD as qemu:dirty-bitmap:NAME.

Example:
  tidemark bitmap add vm1 weekly --granularity 1M
  tidemark bitmap list vm1
  tidemark bitmap clear vm1 weekly`;

export function addBitmapCommands(program: Command): void {
  const group = program.command('bitmap').description('manage the dirty bitmaps of an export');
  group.addHelpText('after', help);
  addQueries(group);
  addChanges(group);
}

function addQueries(group: Command): void {
  withCommonOptions(group.command('list <EXPORT>').description('list the bitmaps of an export')).action(
    async (exportName: string, options: CommonOptions) => {
      const answer = await controlClient(options).get<{ bitmaps: Bitmap[] }>('exports', exportName, 'bitmaps');
      print(options, answer, ({ bitmaps }) => bitmapTable(bitmaps));
    },
  );

  withCommonOptions(group.command('show <EXPORT> <NAME>').description('show one bitmap')).action(
    async (exportName: string, name: string, options: CommonOptions) => {
      const answer = await controlClient(options).get<Bitmap>('exports', exportName, 'bitmaps', name);
      print(options, answer, describe);
    },
  );
}

function addChanges(group: Command): void {
  withCommonOptions(group.command('add <EXPORT> <NAME>').description('add a bitmap that records writes from now on'))
    .option('--granularity <SIZE>', 'bytes per bit, a power of two from 512 to 2G (default: 64K)', sizeArgument)
    .option('--disabled', 'do not record writes until the bitmap is enabled')
    .option('--transient', 'keep it in memory only; it is gone when the server stops')
    .action(async (exportName: string, name: string, options: AddOptions) => {
      const { granularity, disabled, transient } = options;
      const body = { name, granularityBytes: granularity, disabled, transient };
      const added = await controlClient(options).post<Bitmap>(['exports', exportName, 'bitmaps'], body);
      print(options, added, (bitmap) => `added ${bitmap.name}, ${stateOf(bitmap)}`);
    });

  withCommonOptions(group.command('remove <EXPORT> <NAME>').description('remove a bitmap')).action(
    async (exportName: string, name: string, options: CommonOptions) => {
      await controlClient(options).delete(['exports', exportName, 'bitmaps', name]);
      print(options, { removed: name }, () => `removed ${name}`);
    },
  );

  const verbs = {
    clear: 'mark everything clean, and go on recording',
    enable: 'record writes',
    disable: 'stop recording writes, and keep what is recorded',
  };
  for (const [verb, description] of Object.entries(verbs)) {
    withCommonOptions(group.command(`${verb} <EXPORT> <NAME>`).description(description)).action(
      async (exportName: string, name: string, options: CommonOptions) => {
        const path = ['exports', exportName, 'bitmaps', name, verb];
        print(options, await controlClient(options).post<Bitmap>(path), summary);
      },
    );
  }

  withCommonOptions(
    group
      .command('merge <EXPORT> <TARGET> <SOURCE...>')
      .description('mark dirty in TARGET everything that is dirty in the sources, which do not change'),
  ).action(async (exportName: string, target: string, sources: string[], options: CommonOptions) => {
    const path = ['exports', exportName, 'bitmaps', target, 'merge'];
    print(options, await controlClient(options).post<Bitmap>(path, { sources }), summary);
  });
}

/** A table with a row for each bitmap. */
export function bitmapTable(bitmaps: readonly Bitmap[]): string {
  const rows = bitmaps.map((bitmap) => [
    bitmap.name,
    formatExactSize(bitmap.granularityBytes),
    formatSize(bitmap.sizeBytes),
    formatSize(bitmap.dirtyBytes),
    percent(bitmap),
    stateOf(bitmap),
  ]);
  return formatTable(['NAME', 'GRANULARITY', 'SIZE', 'DIRTY', '%', 'STATE'], rows, [1, 2, 3, 4]);
}

function percent({ dirtyBytes, sizeBytes }: Bitmap): string {
  const shown = ((100 * dirtyBytes) / sizeBytes).toFixed(1);
  return dirtyBytes > 0 && shown === '0.0' ? '<0.1' : shown;
}

function stateOf({ recording, busy, persistent, inconsistent }: Bitmap): string {
  return [
    inconsistent ? 'inconsistent' : recording ? 'recording' : 'disabled',
    ...(busy ? ['busy'] : []),
    persistent ? 'persistent' : 'transient',
  ].join(', ');
}

function summary(bitmap: Bitmap): string {
  return `${bitmap.name}: ${formatSize(bitmap.dirtyBytes)} dirty, ${stateOf(bitmap)}`;
}

function describe(bitmap: Bitmap): string {
  const { name, granularityBytes, sizeBytes, dirtyBytes, inconsistentReason } = bitmap;
  return [
    `name         ${name}`,
    `export       ${bitmap.export}`,
    `granularity  ${formatExactSize(granularityBytes)}`,
    `disk         ${formatSize(sizeBytes)} (${sizeBytes} bytes)`,
    `dirty        ${formatSize(dirtyBytes)} (${dirtyBytes} bytes), ${percent(bitmap)} %`,
    `state        ${stateOf(bitmap)}`,
    `base         ${bitmap.base ?? 'none'}`,
    ...(bitmap.trust ? [`trusted      ${bitmap.trust.text}`] : []),
    ...(inconsistentReason === undefined ? [] : [`reason       ${inconsistentReason}`]),
  ].join('\n');
}
