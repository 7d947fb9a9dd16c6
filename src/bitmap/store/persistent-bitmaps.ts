import type { Bitmap } from '../../api/bitmap.js';
import { type Ground, grounds } from '../../api/values.js';
import { CodedError } from '../../base/coded-error.js';
import { type Errno, errnoName, OK } from '../../base/errno.js';
import { readBootId } from '../../posix/find-disk.js';
import type { Posix } from '../../posix/posix-calls.js';
import { changedSince, type DiskIdentity, type FileTimes } from '../../storage/image/disk-identity.js';
import type { CountingFacts, WriteCounters } from '../../storage/image/write-counters.js';
import type { DirtyBitmap } from '../dirty-bitmap.js';
import type { WriteActivity } from '../write-activity.js';
import { BitmapFailures, type BitmapFailuresOptions } from './bitmap-failures.js';
import { changeDurably } from './change-durably.js';
import type { DiskCommits } from './disk-commits.js';
import { DiskWatch, type SharedExplanation } from './disk-watch.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { type Judgement, judge, type LastSight, momentNow, needsWitness } from './left-disk.js';
import { reasonFor } from './loading.js';
import { type Opening, storeTogether } from './opening.js';
import { planRecovered, recover, replaceDamaged } from './recover.js';
import { makeSharedNumber, readSharedNumber, removeSharedNumber } from './shared-number.js';
import { StoredBitmaps } from './stored-bitmaps.js';
import { describeExport, type NamesByDisk, namesByDisk, notesToOthers, readExport } from './stored-exports.js';
import { WriteIntentLog } from './write-intent-log.js';

interface IntentLimits {
  readonly regionBytes: number;
  readonly maxActiveRegions: number;
  /** A region cools when it was not written for this many ticks of the clock. */
  readonly coolAfterTicks: number;
}

export interface PersistenceOptions extends BitmapFailuresOptions {
  readonly store: KeyValueStore;
  /** Reads the current identity of the disk. */
  readonly identify: () => Promise<DiskIdentity>;
  /** As in `DiskWatchOptions`. */
  readonly timesNow?: (() => FileTimes | undefined) | undefined;
  /** Reads the kernel's counters of a block device, without a flush. */
  readonly readCounters?: (() => Promise<WriteCounters | undefined>) | undefined;
  /** Undefined for a file. */
  readonly counting?: CountingFacts | undefined;
  readonly posix?: Posix | undefined;
  /** For a block device: the result of `witnessOf`. */
  readonly witness?: (() => Promise<string | undefined>) | undefined;
  /** This server does not write to the disk; other programs may. */
  readonly readOnly: boolean;
  readonly limits: IntentLimits;
  /** Why the store may have lost the entries of a disk; undefined when it has not. */
  readonly lost?: string | undefined;
  /** The exports in the store. Read from the store if undefined. */
  readonly known?: NamesByDisk | undefined;
  /** Adds bitmaps that are stored together with those that were found. `lost`: why the store may have lost them. */
  readonly complete?: ((lost: string | undefined) => void) | undefined;
}

/** The bitmaps of a disk, loaded and corrected. */
export interface PreparedBitmaps extends Opening {
  readonly persistence: PersistentBitmaps;
}

/** Keeps the bitmaps of one disk in the store, from opening the disk to closing it. */
export class PersistentBitmaps {
  readonly intents: WriteIntentLog;
  private readonly failures: BitmapFailures;
  private readonly watch: DiskWatch;
  private witness: string | undefined;
  private readonly loaded: ReadonlySet<DirtyBitmap>;

  private constructor(
    private readonly options: PersistenceOptions,
    stored: StoredBitmaps,
    /** The identity of the disk when it was opened. */
    private identity: DiskIdentity,
    bootId: string | undefined,
    private readonly ground: Ground,
    /** Why bitmaps may have been lost; undefined when none were. */
    readonly lost: string | undefined,
  ) {
    const { exportName, bitmaps, store, limits, readOnly, identify } = options;
    this.loaded = new Set(bitmaps.list());
    this.failures = new BitmapFailures(options);
    this.watch = new DiskWatch({
      watching: !readOnly && (identity.localTimes === true || identity.counters !== undefined),
      identify,
      timesNow: options.timesNow,
      readCounters: options.readCounters ?? (async () => undefined),
      counting: options.counting,
      shareNumber: () => options.posix && makeSharedNumber(options.posix),
      seen: identity,
      bootId,
      describe: (seen, lastSight) => this.describe(false, seen, lastSight),
      save: (prepare) => this.intents.save(prepare),
      renew: () => this.intents.renewLease(),
      matters: () => this.hasPersistent(),
      onOutsideChange: (reason) => this.failures.missedWrites(reason),
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
      onLostMarks: (errno) => this.failures.lostMarks(errno),
      onDoubt: () => this.watch.activity.closeElsewhere(),
      onBug: (bug) => this.failures.bug(bug),
    });
  }

  /**
   * Loads the stored bitmaps into `bitmaps`, corrects them after a crash or a change by another program, and stores the
   * result. The disk may be written only after that. @throws CodedError STORE_UNUSABLE
   */
  static async open(options: PersistenceOptions): Promise<PersistentBitmaps> {
    const opening = await PersistentBitmaps.prepare(options);
    await storeTogether([opening], options.store);
    return opening.persistence;
  }

  /** The same, but stores nothing. `storeTogether` has to store the opening before anything else is done with it. */
  static async prepare(options: PersistenceOptions): Promise<PreparedBitmaps> {
    const { exportName, bitmaps, store, log } = options;
    const stored = new StoredBitmaps(exportName, bitmaps, store);
    const damage = stored.load();
    const identity = await options.identify();
    const bootId = await readBootId();
    const before = readExport(store, exportName);
    const witness = before && needsWitness(before, identity) ? await options.witness?.() : undefined;
    const limitPath = before?.lastSight?.limitPath;
    const limit = limitPath === undefined ? undefined : await readSharedNumber(limitPath);
    const evidence = { witness, limit };
    const verdict: Judgement = before ? judge(before, identity, momentNow(bootId), evidence) : { ground: 'new' };
    const ranges = before ? recover(before, identity, options, reasonOf(verdict)) : [];
    const damaged = damage?.whole === undefined ? undefined : reasonFor(damage.whole);
    const lost = before ? damaged : (damaged ?? options.lost);
    const ground = 'ground' in verdict ? verdict.ground : 'new';
    const persistence = new PersistentBitmaps(options, stored, identity, bootId, ground, lost);
    // This server does not write to the disk, so the compared content stays valid.
    if (options.readOnly && 'ground' in verdict) persistence.witness = before?.witness;
    const found = bitmaps.list().length;
    options.complete?.(lost);
    const plan = damage ? replaceDamaged(damage, stored, options) : planRecovered(ranges, stored, options);
    const opened = () => {
      plan.accept();
      if (limitPath !== undefined) removeSharedNumber(limitPath);
      log.debug({ export: exportName, bitmaps: bitmaps.list().length }, 'bitmaps are loaded');
      if (ground === 'new' || found === 0) return;
      log.info({ export: exportName, ground }, `the bitmaps are trusted: ${grounds[ground]}`);
    };
    return {
      exportName,
      persistence,
      plan: { ...plan, rest: [...plan.rest, persistence.watch.describe()], accept: opened },
      notes: options.readOnly ? [] : notesToOthers(identity, exportName, store, options.known ?? namesByDisk(store)),
      isDamaged: damage !== undefined,
    };
  }

  get store(): KeyValueStore {
    return this.options.store;
  }

  get commits(): DiskCommits {
    return this.intents.commits;
  }

  /** The writes of this server must be reported here. */
  get activity(): WriteActivity {
    return this.watch.activity;
  }

  /** As in `DiskWatch`. */
  explainElsewhere(): SharedExplanation | undefined {
    return this.watch.explainElsewhere();
  }

  /**
   * Marks all bitmaps inconsistent if another program has written to the disk since the last call, because bitmaps miss
   * such writes. On a block device that is served read-only, this is detected only at the next start.
   */
  async noticeOutsideChanges(): Promise<void> {
    const { readOnly, identify } = this.options;
    if (!readOnly) return this.watch.check();
    const before = this.identity;
    this.identity = await identify();
    if (changedSince(before, this.identity) === undefined) return;
    this.failures.missedWrites('another program changed the disk while it was served read-only');
  }

  /** Undefined for a bitmap that is new, transient or inconsistent. */
  trustIn(bitmap: DirtyBitmap): Bitmap['trust'] {
    if (!this.loaded.has(bitmap) || bitmap.inconsistent !== undefined) return undefined;
    return { ground: this.ground, text: grounds[this.ground] };
  }

  get watched(): 'at rest' | 'written' {
    return this.watch.isAtRest ? 'at rest' : 'written';
  }

  /** Puts the disk at rest if nothing is being written, so that even a crash right after this hides no change. */
  async settle(): Promise<void> {
    await this.watch.rest();
  }

  /** One tick of the clock: cools regions and watches the disk. */
  async tick(): Promise<Errno> {
    const errno = await this.intents.cool(this.options.limits.coolAfterTicks);
    return errno === OK ? this.watch.tick() : errno;
  }

  /** Follows a new size of the disk. No write may be in progress. @throws CodedError STORE_UNUSABLE, BITMAP_BUSY */
  async resize(sizeBytes: number): Promise<void> {
    const { bitmaps, store } = this.options;
    const identity = await this.options.identify();
    await changeDurably([this.commits], store, {
      apply: () => {
        bitmaps.resize(sizeBytes);
        this.watch.follow(identity);
        this.intents.resize(sizeBytes);
      },
      // The disk has its new size already.
      stays: (cause) =>
        new CodedError(
          'STORE_UNUSABLE',
          `the new size of "${this.options.exportName}" could not be stored: ${cause.message}`,
          'check that the state directory is writable and its disk is not full, then resize it again',
          { cause },
        ),
    });
  }

  /**
   * Stores exact bits without region marks, and the final identity of the disk, so that the next start reports no extra
   * dirty data. The disk must have been flushed. @throws CodedError STORE_UNUSABLE
   */
  async close(): Promise<void> {
    const { readOnly, identify } = this.options;
    this.watch.close();
    // On a read-only disk, changes by other programs were not recorded, so the identity from the start stays.
    const identity = readOnly ? this.identity : await identify();
    this.watch.judge(identity);
    if (!readOnly && this.hasPersistent()) this.witness = await this.options.witness?.();
    const errno = await this.intents.close([this.describe(true, identity)]);
    if (errno === OK) return this.watch.discard();
    throw new CodedError(
      'STORE_UNUSABLE',
      `the bitmaps of "${this.options.exportName}" could not be stored at the close: ${errnoName(errno)}`,
      'free space in the state directory or repair its disk; the next start treats this as a crash',
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
}

function reasonOf(verdict: Judgement): string | undefined {
  return 'untrue' in verdict ? verdict.untrue : undefined;
}
