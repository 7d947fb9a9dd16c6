import { CodedError } from '../../base/coded-error.js';
import { type Errno, errnoName, OK } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import { changedSince, type DiskIdentity, otherDisk } from '../../storage/disk-identity.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, everyExport, exportKey } from './keys.js';
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
  /** Nothing is written to the disk through us, though perhaps by others. */
  readonly readOnly: boolean;
  readonly limits: IntentLimits;
  readonly onBitmapError: OnBitmapError;
  readonly log: Log;
}

/** What the store says of a disk, in JSON. */
export interface StoredExport {
  readonly identity: DiskIdentity;
  readonly regionBytes: number;
  /** The disk was closed with exact bits, and its identity taken after that; or is served read-only, which keeps it so. */
  readonly clean: boolean;
  /** The export as which it was served since, where its changes did not come into these bitmaps. */
  readonly servedAs?: string;
}

/** The bitmaps of one disk and what keeps them in the store, from opening the disk to closing it. */
export class PersistentBitmaps {
  readonly intents: WriteIntentLog;
  private readonly logLimit = new LogLimit();

  private constructor(
    private readonly options: PersistenceOptions,
    stored: StoredBitmaps,
    /** The disk as it was opened, or last resized. */
    private identity: DiskIdentity,
  ) {
    const { exportName, bitmaps, store, limits } = options;
    this.intents = new WriteIntentLog({
      exportName,
      diskBytes: identity.sizeBytes,
      regionBytes: limits.regionBytes,
      maxActiveRegions: limits.maxActiveRegions,
      store,
      bitmaps,
      stored,
      describeDisk: () => this.describe(false, this.identity),
      onLostMarks: (errno) => this.lostMarks(errno),
      onBug: (err) => this.noteBug(err),
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
    const opened = new PersistentBitmaps(options, stored, identity);
    try {
      await store.commit([...recovered, opened.describe(false, identity), ...notesToOthers(identity, options)]);
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

  /**
   * A read-only disk may be written by others, and what they write is in no bitmap: none is trusted any more when the
   * disk has changed since this was asked last. Where the disk has no times that cannot be seen.
   */
  async noticeOutsideChanges(): Promise<void> {
    const { readOnly, identify, bitmaps, exportName, log } = this.options;
    if (!readOnly) return;
    const before = this.identity;
    this.identity = await identify();
    if (changedSince(before, this.identity) === undefined) return;
    const reason = 'another program changed the disk while it was served read-only';
    for (const bitmap of bitmaps.list()) bitmaps.markInconsistent(bitmap.name, reason);
    log.warn({ export: exportName }, `${reason}: its bitmaps are inconsistent, and the next backup is a full one`);
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
      this.identity = identity;
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
    const { readOnly, identify } = this.options;
    // What others have changed meanwhile was not recorded.
    const errno = await this.intents.close([this.describe(true, readOnly ? this.identity : await identify())]);
    if (errno === OK) return;
    throw new CodedError(
      'STORE_UNUSABLE',
      `the bitmaps of "${this.options.exportName}" could not be stored at the close: ${errnoName(errno)}`,
      'make room in the state directory or mend its disk; the next start treats this as a crash',
    );
  }

  private describe(clean: boolean, identity: DiskIdentity): Change {
    const { exportName, limits, readOnly } = this.options;
    return describeExport(exportName, { identity, regionBytes: limits.regionBytes, clean: clean || readOnly });
  }

  private noteBug(err: unknown): void {
    const { exportName, log } = this.options;
    const sinceLast = this.logLimit.admit(String(err));
    if (sinceLast === undefined) return;
    log.error({ err, export: exportName, sinceLast }, 'bitmaps could not be stored because of a bug; please report it');
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

function describeExport(exportName: string, stored: StoredExport): Change {
  return { key: exportKey(exportName), value: Buffer.from(JSON.stringify(stored)) };
}

/**
 * What is written to a disk from now on misses the bitmaps that it has as another export. For a file that was closed
 * cleanly its times tell.
 */
function notesToOthers(identity: DiskIdentity, { exportName, store, readOnly }: PersistenceOptions): Change[] {
  if (readOnly) return [];
  return [...store.keys(everyExport)].flatMap((key) => {
    const name = String(key.at(-1));
    const stored = readExport(store, name)!;
    const isSame = name !== exportName && otherDisk(stored.identity, identity) === undefined;
    if (!isSame || (stored.clean && identity.kind === 'file')) return [];
    return [describeExport(name, { ...stored, servedAs: exportName })];
  });
}

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
  const reason = whyUntrue(before, identity);
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

/** Why the bitmaps of a disk do not describe it any more; undefined when nothing speaks against them. */
function whyUntrue({ clean, identity: before, servedAs }: StoredExport, now: DiskIdentity): string | undefined {
  if (servedAs !== undefined) return `it was served as "${servedAs}" meanwhile`;
  return clean ? changedSince(before, now) : otherDisk(before, now);
}

function totalDirtyBytes(bitmaps: BitmapSet): number {
  return bitmaps.list().reduce((sum, bitmap) => sum + bitmap.dirtyBytes, 0);
}
