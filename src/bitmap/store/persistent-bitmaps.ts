import { CodedError } from '../../base/coded-error.js';
import { type Errno, errnoName, OK } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import { readBootId } from '../../posix/find-disk.js';
import { changedSince, type DiskIdentity } from '../../storage/image/disk-identity.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { WriteActivity } from '../write-activity.js';
import { DiskWatch } from './disk-watch.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { type Ground, grounds, type Judgement, judge, type LastSight, momentNow, needsWitness } from './left-disk.js';
import { reasonFor } from './loading.js';
import { recover, replaceDamaged } from './recover.js';
import { StoredBitmaps } from './stored-bitmaps.js';
import { describeExport, notesToOthers, readExport } from './stored-exports.js';
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
  /** Of a block device, as `witnessOf` tells. */
  readonly witness?: (() => Promise<string | undefined>) | undefined;
  /** Nothing is written to the disk through us, though perhaps by others. */
  readonly readOnly: boolean;
  readonly limits: IntentLimits;
  readonly onBitmapError: OnBitmapError;
  /** Why the store may have lost all that it knew of a disk; undefined when it has not. */
  readonly lost?: string | undefined;
  readonly log: Log;
}

/** The bitmaps of one disk and what keeps them in the store, from opening the disk to closing it. */
export class PersistentBitmaps {
  readonly intents: WriteIntentLog;
  private readonly logLimit = new LogLimit();

  private readonly watch: DiskWatch;
  private witness: string | undefined;
  private readonly loaded: ReadonlySet<DirtyBitmap>;

  private constructor(
    private readonly options: PersistenceOptions,
    stored: StoredBitmaps,
    /** The disk as it was opened. */
    private identity: DiskIdentity,
    bootId: string | undefined,
    private readonly ground: Ground,
    /** Why there may have been bitmaps that are not here; undefined when all of them are. */
    readonly lost: string | undefined,
  ) {
    const { exportName, bitmaps, store, limits, readOnly, identify } = options;
    this.loaded = new Set(bitmaps.list());
    this.watch = new DiskWatch({
      watching: !readOnly && (identity.localTimes === true || identity.counters !== undefined),
      identify,
      seen: identity,
      bootId,
      describe: (seen, lastSight) => this.describe(false, seen, lastSight),
      save: (prepare) => this.intents.save(prepare),
      renew: () => this.intents.renewLease(),
      matters: () => this.hasPersistent(),
      onOutsideChange: (reason) => this.distrust(reason),
    });
    this.intents = new WriteIntentLog({
      exportName,
      diskBytes: identity.sizeBytes,
      regionBytes: limits.regionBytes,
      maxActiveRegions: limits.maxActiveRegions,
      store,
      bitmaps,
      stored,
      describeDisk: () => this.watch.describe(),
      lease: this.watch,
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
    const damage = stored.load();
    const identity = await options.identify();
    const bootId = await readBootId();
    const before = readExport(store, exportName);
    const witness = before && needsWitness(before, identity) ? await options.witness?.() : undefined;
    const verdict: Judgement = before ? judge(before, identity, momentNow(bootId), witness) : { ground: 'new' };
    let recovered = before ? recover(before, identity, stored, options, reasonOf(verdict)) : [];
    if (damage) recovered = replaceDamaged(damage, stored, options);
    const damaged = damage?.whole === undefined ? undefined : reasonFor(damage.whole);
    const lost = before ? damaged : (damaged ?? options.lost);
    const ground = 'ground' in verdict ? verdict.ground : 'new';
    const opened = new PersistentBitmaps(options, stored, identity, bootId, ground, lost);
    // Nothing is written by this server, so what was compared goes on to hold.
    if (options.readOnly && 'ground' in verdict) opened.witness = before?.witness;
    try {
      const notes = options.readOnly ? [] : notesToOthers(identity, exportName, store);
      await store.commit([...recovered, opened.watch.describe(), ...notes]);
    } catch (cause) {
      throw new CodedError(
        'STORE_UNUSABLE',
        `the bitmaps of "${exportName}" cannot be stored: ${(cause as Error).message}`,
        'see that the state directory is writable and its disk not full',
        { cause },
      );
    }
    log.debug({ export: exportName, bitmaps: bitmaps.list().length }, 'bitmaps are loaded');
    if (ground !== 'new' && bitmaps.list().length > 0) {
      log.info({ export: exportName, ground }, `the bitmaps are trusted: ${grounds[ground]}`);
    }
    return opened;
  }

  get store(): KeyValueStore {
    return this.options.store;
  }

  /** What this server changes of the disk is to be told here. */
  get activity(): WriteActivity {
    return this.watch.activity;
  }

  /**
   * Bitmaps miss what others write to the disk. None of them is trusted any more when that has happened since this was
   * asked last. On a block device that is served read-only it is not noticed before the next start.
   */
  async noticeOutsideChanges(): Promise<void> {
    const { readOnly, identify } = this.options;
    if (!readOnly) return this.watch.check();
    const before = this.identity;
    this.identity = await identify();
    if (changedSince(before, this.identity) === undefined) return;
    this.distrust('another program changed the disk while it was served read-only');
  }

  /**
   * On what ground a bitmap that is older than this run of the server is trusted, for people too. Undefined when it is
   * not older, not trusted, or does not outlive the server.
   */
  trustIn(bitmap: DirtyBitmap): { readonly ground: Ground; readonly text: string } | undefined {
    if (!this.loaded.has(bitmap) || bitmap.inconsistent !== undefined) return undefined;
    return { ground: this.ground, text: grounds[this.ground] };
  }

  get watched(): 'at rest' | 'written' {
    return this.watch.isAtRest ? 'at rest' : 'written';
  }

  /** Stores what the disk looks like if nobody writes it, so that even a crash in the next moment hides nothing. */
  async settle(): Promise<void> {
    await this.watch.rest();
  }

  /** One turn of the clock, which cools regions and watches the disk. */
  async cool(): Promise<Errno> {
    const errno = await this.intents.cool(this.options.limits.coolAfterTurns);
    return errno === OK ? this.watch.turn() : errno;
  }

  /** The disk has another size now; no change of it may be under way. @throws CodedError STORE_UNUSABLE, BITMAP_BUSY */
  async resize(sizeBytes: number): Promise<void> {
    const { bitmaps, store } = this.options;
    const identity = await this.options.identify();
    const release = await this.intents.hold();
    try {
      bitmaps.resize(sizeBytes);
      const marks = this.intents.resize(sizeBytes);
      this.watch.follow(identity);
      await store.commit([...marks, ...this.intents.changes(), this.watch.describe()]);
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
    this.watch.close();
    // What others have changed meanwhile was not recorded.
    const identity = readOnly ? this.identity : await identify();
    this.watch.judge(identity);
    if (!readOnly && this.hasPersistent()) this.witness = await this.options.witness?.();
    const errno = await this.intents.close([this.describe(true, identity)]);
    if (errno === OK) return;
    throw new CodedError(
      'STORE_UNUSABLE',
      `the bitmaps of "${this.options.exportName}" could not be stored at the close: ${errnoName(errno)}`,
      'make room in the state directory or mend its disk; the next start treats this as a crash',
    );
  }

  private hasPersistent(): boolean {
    return this.options.bitmaps.list().some(({ persistent }) => persistent);
  }

  private describe(clean: boolean, identity: DiskIdentity, lastSight?: LastSight): Change {
    const { exportName, limits, readOnly } = this.options;
    const known = { identity, regionBytes: limits.regionBytes, clean: clean || readOnly };
    const { witness } = this;
    return describeExport(exportName, {
      ...known,
      ...(lastSight && { lastSight }),
      ...(witness !== undefined && { witness }),
    });
  }

  private distrust(reason: string): void {
    const { bitmaps, exportName, log } = this.options;
    const trusted = bitmaps.list().filter(({ inconsistent }) => inconsistent === undefined);
    for (const { name } of trusted) bitmaps.markInconsistent(name, reason);
    if (trusted.length === 0) return;
    log.warn({ export: exportName }, `${reason}: its bitmaps are inconsistent, and the next backup is a full one`);
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

function reasonOf(verdict: Judgement): string | undefined {
  return 'untrue' in verdict ? verdict.untrue : undefined;
}
