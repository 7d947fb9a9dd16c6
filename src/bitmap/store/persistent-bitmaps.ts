import { CodedError } from '../../base/coded-error.js';
import { type Errno, errnoName, OK } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import { changedSince, type DiskIdentity, otherDisk } from '../../storage/disk-identity.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, exportKey } from './keys.js';
import { StoredBitmaps } from './stored-bitmaps.js';
import { WriteIntentLog } from './write-intent-log.js';

/** What to do with a change of the disk that cannot be recorded durably. */
export type OnBitmapError = 'refuse' | 'continue';

interface IntentLimits {
  readonly regionBytes: number;
  readonly maxActiveRegions: number;
  /** A region that is not written during so many turns of the cooling clock cools. */
  readonly coolAfterTurns: number;
}

export interface PersistenceOptions {
  readonly exportName: string;
  readonly bitmaps: BitmapSet;
  readonly store: KeyValueStore;
  /** Tells what the disk is, at the time of the call. */
  readonly identify: () => Promise<DiskIdentity>;
  readonly limits: IntentLimits;
  readonly onBitmapError: OnBitmapError;
  readonly log: Log;
}

/** What the store says of a disk, in JSON. */
export interface StoredExport {
  readonly identity: DiskIdentity;
  readonly regionBytes: number;
  /** The disk was closed with exact bits, and its identity taken after that. */
  readonly clean: boolean;
}

/** The bitmaps of one disk and what keeps them in the store, from opening the disk to closing it. */
export class PersistentBitmaps {
  readonly intents: WriteIntentLog;
  private readonly logLimit = new LogLimit();

  private constructor(
    private readonly options: PersistenceOptions,
    stored: StoredBitmaps,
    diskBytes: number,
  ) {
    const { exportName, bitmaps, store, limits } = options;
    this.intents = new WriteIntentLog({
      exportName,
      diskBytes,
      regionBytes: limits.regionBytes,
      maxActiveRegions: limits.maxActiveRegions,
      store,
      bitmaps,
      stored,
      onLostMarks: (errno) => this.lostMarks(errno),
    });
  }

  /**
   * Loads what the store knows into `bitmaps`, sets right what a crash or a change behind our back left, and makes that
   * durable. Only then may the disk be written. @throws CodedError STORE_UNUSABLE
   */
  static async open(options: PersistenceOptions): Promise<PersistentBitmaps> {
    const { exportName, bitmaps, store, log } = options;
    const stored = new StoredBitmaps(exportName, bitmaps, store);
    stored.load();
    const identity = await options.identify();
    const before = readExport(store, exportName);
    const recovered = before ? recover(before, identity, stored, options) : [];
    const opened = new PersistentBitmaps(options, stored, identity.sizeBytes);
    try {
      await store.commit([...recovered, opened.describe(false, identity)]);
    } catch (cause) {
      throw new CodedError(
        'STORE_UNUSABLE',
        `the bitmaps of "${exportName}" cannot be stored: ${(cause as Error).message}`,
        'see that the state directory is writable and its disk not full',
        { cause },
      );
    }
    log.debug({ export: exportName, bitmaps: bitmaps.list().length }, 'bitmaps are loaded');
    return opened;
  }

  get store(): KeyValueStore {
    return this.options.store;
  }

  /** One turn of the cooling clock. */
  cool(): Promise<Errno> {
    return this.intents.cool(this.options.limits.coolAfterTurns);
  }

  /** The disk has another size now; no change of it may be under way. @throws CodedError STORE_UNUSABLE, BITMAP_BUSY */
  async resize(sizeBytes: number): Promise<void> {
    const { bitmaps, store } = this.options;
    const identity = await this.options.identify();
    const release = await this.intents.hold();
    try {
      bitmaps.resize(sizeBytes);
      const marks = this.intents.resize(sizeBytes);
      await store.commit([...marks, ...this.intents.changes(), this.describe(false, identity)]);
      this.intents.settled(true);
    } catch (error) {
      this.intents.settled(false);
      if (error instanceof CodedError) throw error;
      throw new CodedError(
        'STORE_UNUSABLE',
        `the new size of "${this.options.exportName}" could not be stored: ${(error as Error).message}`,
        'see that the state directory is writable and its disk not full, then resize it again',
        { cause: error },
      );
    } finally {
      release();
    }
  }

  /**
   * Exact bits, no marks, and the disk's identity after the last change: next time nothing is over-reported. The disk
   * must have been flushed. @throws CodedError STORE_UNUSABLE
   */
  async close(): Promise<void> {
    const errno = await this.intents.close([this.describe(true, await this.options.identify())]);
    if (errno === OK) return;
    throw new CodedError(
      'STORE_UNUSABLE',
      `the bitmaps of "${this.options.exportName}" could not be stored at the close: ${errnoName(errno)}`,
      'make room in the state directory or mend its disk; the next start treats this as a crash',
    );
  }

  private describe(clean: boolean, identity: DiskIdentity): Change {
    const stored: StoredExport = { identity, regionBytes: this.options.limits.regionBytes, clean };
    return { key: exportKey(this.options.exportName), value: Buffer.from(JSON.stringify(stored)) };
  }

  private lostMarks(errno: Errno): boolean {
    const { bitmaps, onBitmapError } = this.options;
    this.logLostMarks(errno);
    if (onBitmapError === 'refuse') return false;
    const reason = `a write could not be recorded in the store: ${errnoName(errno)}`;
    for (const bitmap of bitmaps.list()) if (bitmap.persistent) bitmaps.markInconsistent(bitmap.name, reason);
    return true;
  }

  private logLostMarks(errno: Errno): void {
    const { exportName, onBitmapError, log } = this.options;
    const cause = errnoName(errno);
    const sinceLast = this.logLimit.admit(cause);
    if (sinceLast !== undefined) log.error({ export: exportName, cause, sinceLast }, lostMarksTexts[onBitmapError]);
  }
}

const lostMarksTexts: Readonly<Record<OnBitmapError, string>> = {
  refuse: 'a write was refused: it could not be recorded in the state directory. Make room there or mend its disk',
  continue:
    'a write could not be recorded in the state directory and went on; the persistent bitmaps are inconsistent now. ' +
    'Mend the directory, remove the bitmaps, add them anew, and take a full backup',
};

function readExport(store: KeyValueStore, exportName: string): StoredExport | undefined {
  const value = store.get(exportKey(exportName));
  return value && (JSON.parse(value.toString()) as StoredExport);
}

/** Makes the loaded bitmaps true again; returns what makes the store say so, and takes its marks away. */
function recover(
  before: StoredExport,
  identity: DiskIdentity,
  stored: StoredBitmaps,
  options: PersistenceOptions,
): Change[] {
  const { exportName, bitmaps, store, log } = options;
  const marks = [...store.keys(allRegions(exportName))];
  // Its backup ended with the server that made it.
  for (const bitmap of bitmaps.list()) if (bitmap.provisional) bitmaps.withdraw(bitmap.name);
  const reason = before.clean ? changedSince(before.identity, identity) : otherDisk(before.identity, identity);
  if (reason !== undefined) {
    for (const bitmap of bitmaps.list()) bitmaps.markInconsistent(bitmap.name, reason);
    log.warn(
      { export: exportName, reason },
      'the disk is not as it was left: its bitmaps are inconsistent. Remove them, add them anew, and take a full backup',
    );
    return [...stored.changes([]), ...marks.map((key) => ({ key, value: undefined }))];
  }
  for (const bitmap of bitmaps.list()) if (bitmap.busy) bitmaps.reclaim(bitmap.name);
  const ranges = marks.map((key) => {
    const offset = Number(key.at(-1)) * before.regionBytes;
    return { offset, length: Math.min(before.regionBytes, identity.sizeBytes - offset) };
  });
  const dirtyBefore = totalDirtyBytes(bitmaps);
  const changes = stored.changes(ranges);
  for (const { offset, length } of ranges) bitmaps.markDirty(offset, length);
  changes.push(...marks.map((key) => ({ key, value: undefined })), ...stored.pagesOf(ranges));
  if (marks.length > 0) {
    const addedBytes = totalDirtyBytes(bitmaps) - dirtyBefore;
    log.warn({ export: exportName, regions: marks.length, addedBytes }, 'after a crash, marked regions count as dirty');
  }
  return changes;
}

function totalDirtyBytes(bitmaps: BitmapSet): number {
  return bitmaps.list().reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
}
