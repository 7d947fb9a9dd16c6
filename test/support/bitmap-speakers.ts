import { expect } from 'vitest';
import type { Action } from '../../src/api/transaction.js';
import { type Control, Refusal } from './control.js';
import type { Range } from './image.js';
import { type Qmp, QmpRefusal, type StorageDaemon } from './qmp.js';
import { dirtyRanges } from './status-map.js';
import type { Tidemark } from './tidemark.js';

/** The operations that both QEMU and tidemark have. A disk is a node in QEMU and an export in tidemark. */
export type Command = { readonly disk: string; readonly name: string } & (
  | {
      readonly type: 'add';
      /** Bytes. */
      readonly granularity?: number;
      readonly disabled?: boolean;
      readonly persistent?: boolean;
    }
  | { readonly type: 'remove' | 'clear' | 'enable' | 'disable' }
  | { readonly type: 'merge'; readonly sources: readonly { readonly disk: string; readonly name: string }[] }
);

export interface BitmapState {
  readonly name: string;
  readonly granularityBytes: number;
  readonly dirtyBytes: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly inconsistent: boolean;
}

/** A server with dirty bitmaps, controlled in its own language. */
export interface Speaker {
  /** Runs one command. Resolves to the refusal, or to undefined on success. */
  take(command: Command): Promise<string | undefined>;
  /** Runs all commands or none. Resolves as `take` does. */
  transact(commands: readonly Command[]): Promise<string | undefined>;
  /** The bitmaps, in the order in which the server lists them. */
  bitmaps(disk: string): Promise<BitmapState[]>;
  /** What an NBD client sees of each of these bitmaps, in the same order. */
  dirty(disk: string, names: readonly string[]): Promise<Range[][]>;
  /** Does some work while the bitmaps are exported. */
  whileExported<T>(disk: string, names: readonly string[], work: () => Promise<T>): Promise<T>;
  /** The writable NBD export of a disk. */
  uri(disk: string): string;
}

async function refusalOf(
  kind: typeof Refusal | typeof QmpRefusal,
  work: Promise<unknown>,
): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof kind) return error.message;
    throw error;
  }
}

/** A bitmap as query-named-block-nodes describes it (BlockDirtyInfo). */
interface DirtyInfo {
  readonly name: string;
  readonly granularity: number;
  readonly count: number;
  readonly recording: boolean;
  readonly busy: boolean;
  readonly inconsistent?: boolean;
}

interface BlockNode {
  readonly 'node-name': string;
  readonly 'dirty-bitmaps'?: readonly DirtyInfo[];
}

/** QEMU. It exports each disk for writing, and a second time, with bitmaps, while a client looks at these. */
export async function qemuSpeaker(daemon: StorageDaemon, disks: readonly string[]): Promise<Speaker> {
  const { qmp } = daemon;
  for (const disk of disks) await exportNode(qmp, disk, disk, []);
  const whileExported: Speaker['whileExported'] = async (disk, names, work) => {
    const id = viewOf(disk);
    await exportNode(qmp, id, disk, names);
    try {
      return await work();
    } finally {
      const gone = qmp.event('BLOCK_EXPORT_DELETED', 'id', id);
      await qmp.execute('block-export-del', { id, mode: 'hard' });
      await gone;
    }
  };
  return {
    take: (command) => {
      const { type, data } = qmpAction(command);
      return refusalOf(QmpRefusal, qmp.execute(type, data));
    },
    transact: (commands) =>
      refusalOf(QmpRefusal, qmp.execute('transaction', { actions: commands.map((command) => qmpAction(command)) })),
    bitmaps: async (disk) => {
      const nodes = await qmp.execute<BlockNode[]>('query-named-block-nodes');
      return (nodes.find((node) => node['node-name'] === disk)?.['dirty-bitmaps'] ?? []).map(stateOf);
    },
    dirty: (disk, names) => whileExported(disk, names, () => rangesOf(daemon.uri(viewOf(disk)), names)),
    whileExported,
    uri: daemon.uri,
  };
}

const viewOf = (disk: string) => `view-of-${disk}`;

async function exportNode(qmp: Qmp, id: string, node: string, bitmaps: readonly string[]): Promise<void> {
  await qmp.execute('block-export-add', { type: 'nbd', id, name: id, 'node-name': node, writable: true, bitmaps });
}

function qmpAction(command: Command): { type: string; data: object } {
  const { type, disk: node, name } = command;
  const named = `block-dirty-bitmap-${type}`;
  switch (command.type) {
    case 'add': {
      const { granularity, disabled, persistent } = command;
      return { type: named, data: { node, name, granularity, disabled, persistent } };
    }
    case 'merge': {
      const bitmaps = command.sources.map((source) => ({ node: source.disk, name: source.name }));
      return { type: named, data: { node, target: name, bitmaps } };
    }
    default:
      return { type: named, data: { node, name } };
  }
}

function stateOf({ name, granularity, count, recording, busy, inconsistent = false }: DirtyInfo): BitmapState {
  return { name, granularityBytes: granularity, dirtyBytes: count, recording, busy, inconsistent };
}

/** tidemark. Its bitmaps are always exported. */
export function tidemarkSpeaker(server: Pick<Tidemark, 'uri'>, control: Control): Speaker {
  return {
    take: (command) => refusalOf(Refusal, control.transact([controlAction(command)])),
    transact: (commands) => refusalOf(Refusal, control.transact(commands.map(controlAction))),
    bitmaps: async (disk) =>
      (await control.bitmaps(disk)).map(({ name, granularityBytes, dirtyBytes, recording, busy, inconsistent }) => ({
        ...{ name, granularityBytes, dirtyBytes, recording, busy, inconsistent },
      })),
    dirty: async (disk, names) => {
      const ranges = await rangesOf(server.uri(disk), names);
      const pages = names.map((name) => control.dirtyRanges(disk, name, 2));
      expect(await Promise.all(pages), 'the control API says what NBD says').toEqual(ranges);
      return ranges;
    },
    whileExported: (_disk, _names, work) => work(),
    uri: server.uri,
  };
}

function controlAction(command: Command): Action {
  const { disk, name: bitmap } = command;
  switch (command.type) {
    case 'add': {
      const { granularity, disabled } = command;
      return {
        ...{ type: 'bitmap-add', export: disk, bitmap },
        ...(granularity === undefined ? {} : { granularityBytes: granularity }),
        ...(disabled === undefined ? {} : { disabled }),
      };
    }
    case 'merge': {
      const sources = command.sources.map((source) => ({ export: source.disk, bitmap: source.name }));
      return { type: 'bitmap-merge', export: disk, bitmap, sources };
    }
    default:
      return { type: `bitmap-${command.type}`, export: disk, bitmap };
  }
}

function rangesOf(uri: string, names: readonly string[]): Promise<Range[][]> {
  return Promise.all(names.map((name) => dirtyRanges(uri, name)));
}
