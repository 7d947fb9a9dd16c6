import { type Errno, OK } from '../../base/errno.js';
import { type DiskIdentity, type FileTimes, isWrittenSince, lastWriteOf } from '../../storage/image/disk-identity.js';
import { type CountingFacts, countedSectors, type WriteCounters } from '../../storage/image/write-counters.js';
import { ExplainedWrites } from '../explained-writes.js';
import { WriteActivity } from '../write-activity.js';
import type { Change } from './key-value-store.js';
import { type LastSight, type Moment, momentNow, wasSetBack } from './left-disk.js';
import type { SharedNumber } from './shared-number.js';
import type { Renewal, WriteLease } from './write-lease.js';

/** One second between two ticks, plus a second for the commit, so that it does not hold up a write. */
const LEASE_MILLISECONDS = 2000;
/** A slow store gets more time: this many commits. */
const LEASE_IN_COMMITS = 3;
/** A disk is at rest when nothing was written for this long. */
const REST_MILLISECONDS = 100;
/** File times may go back by up to this much, because a small clock correction has the same effect. */
const PUT_BACK_MILLISECONDS = 5000;

const CHANGED_BY_ANOTHER = 'another program changed the disk while it was served';

/** Where other threads explain what they write to a block device. */
export interface SharedExplanation {
  /** Of the `SharedNumber`. */
  readonly path: string;
  readonly counting: CountingFacts;
}

export interface DiskWatchOptions {
  /** This server writes to the disk, and writes by other programs can be detected. */
  readonly watching: boolean;
  /** Reads the disk's identity, after flushing writes that the kernel counts only when they reach the disk. */
  readonly identify: () => Promise<DiskIdentity>;
  /** For a file whose times can be read without waiting; undefined if that failed. */
  readonly timesNow?: (() => FileTimes | undefined) | undefined;
  /** Reads the kernel's counters of a block device without a flush; undefined if they cannot be read. */
  readonly readCounters: () => Promise<WriteCounters | undefined>;
  /** Undefined for a file. */
  readonly counting: CountingFacts | undefined;
  /** Undefined if this machine offers no such number. */
  readonly shareNumber: () => SharedNumber | undefined;
  /** The disk's identity before this server wrote anything. */
  readonly seen: DiskIdentity;
  readonly bootId: string | undefined;
  /** The entry for the store that describes the disk. */
  readonly describe: (identity: DiskIdentity, lastSight: LastSight | undefined) => Change;
  /** Stores what `prepare` returns, if anything, while no other commit for the disk is running. */
  readonly save: (prepare: () => Promise<readonly Change[] | undefined>) => Promise<Errno>;
  /** Renews the lease, in its own commit or as part of another one. */
  readonly renew: () => Promise<Errno>;
  /** Whether there are bitmaps that must survive a crash. If not, a lease never ends. */
  readonly matters: () => boolean;
  readonly onOutsideChange: (reason: string) => void;
}

/**
 * Detects when another program changes a disk that is being served, and stores what is needed to detect it after a
 * crash too.
 *
 * A disk is either at rest or being written. While it is at rest, the store holds its identity, and any difference was
 * made by another program. Before the first write, the store must hold the time until which writes are allowed (the
 * lease); a change after that time was made by another program. Once a second the lease is renewed, or the disk is put
 * at rest again.
 */
export class DiskWatch implements WriteLease {
  readonly activity = new WriteActivity();
  held: boolean;
  private atRest = true;
  private closed = false;
  private ticking = false;
  private seen: DiskIdentity;
  private seenAt: Moment;
  private sight: LastSight;
  /** The number of finished changes when `seen` was read. */
  private seenCount = 0;
  private countAtTick = 0;
  private leaseEnds = 0;
  private commitMilliseconds = 0;
  private limit: SharedNumber | undefined;

  constructor(private readonly options: DiskWatchOptions) {
    this.seen = options.seen;
    this.seenAt = momentNow(options.bootId);
    this.sight = { moment: this.seenAt };
    this.held = !options.watching;
  }

  get isAtRest(): boolean {
    return this.atRest;
  }

  /** The entry that describes the disk now. */
  describe(): Change {
    return this.options.describe(this.seen, this.options.watching ? this.sight : undefined);
  }

  async renew(): Promise<Renewal> {
    if (!this.options.watching) return { changes: [], granted: () => {} };
    if (this.atRest) await this.compareAtRest();
    this.beginToExplain();
    const began = performance.now();
    const allowed = LEASE_MILLISECONDS + LEASE_IN_COMMITS * this.commitMilliseconds;
    const ends = this.options.matters() ? Date.now() + Math.ceil(allowed) : Number.POSITIVE_INFINITY;
    const sight = { ...this.sightNow(), writesUntil: ends === Number.POSITIVE_INFINITY ? null : ends };
    const granted = () => {
      this.commitMilliseconds = Math.max(performance.now() - began, this.commitMilliseconds / 2);
      this.sight = sight;
      this.leaseEnds = ends;
      this.activity.allowElsewhereUntil(ends);
      this.atRest = false;
      this.held = true;
    };
    return { changes: [this.options.describe(this.seen, sight)], granted };
  }

  /** Called once a second. Does nothing while the previous tick is still running. */
  async tick(): Promise<Errno> {
    if (!this.options.watching || this.closed || this.ticking) return OK;
    this.ticking = true;
    try {
      return await this.actOnTick();
    } finally {
      this.ticking = false;
    }
  }

  private async actOnTick(): Promise<Errno> {
    if (this.atRest) return this.seen.kind !== 'file' || this.looksTheSameNow() ? OK : this.lookAtRest();
    const { count, inFlight } = this.activity;
    const isQuiet = inFlight === 0 && count === this.countAtTick;
    this.countAtTick = count;
    if (isQuiet) return this.rest();
    if (this.leaseEnds === Number.POSITIVE_INFINITY && !this.options.matters()) return OK;
    if (Date.now() > this.leaseEnds) this.held = false;
    const errno = await this.options.renew();
    await this.compareWhileWritten();
    return errno;
  }

  /** Puts the disk at rest and stores its identity, unless it is being written. */
  async rest(): Promise<Errno> {
    if (!this.options.watching || this.closed || this.atRest || !this.isQuiet()) return OK;
    // This flushes a device now, so that other commits do not have to wait for the flush.
    if (this.seen.kind === 'block device') await this.tryIdentify();
    return this.options.save(async () => {
      this.activity.closeElsewhere();
      const isSeen = !this.atRest && (await this.look());
      if (!isSeen) return undefined;
      this.held = false;
      this.atRest = true;
      this.sight = this.sightNow();
      return [this.describe()];
    });
  }

  /** Checks whether another program has changed the disk, if that can be told apart from this server's own writes. */
  async check(): Promise<void> {
    if (!this.options.watching || this.closed) return;
    if (this.atRest) await this.lookAtRest();
    else if (this.seen.kind === 'file') await this.look();
    else await this.compareWhileWritten();
  }

  /** Accepts a new identity after this server changed the disk, for example its size. No change may be in progress. */
  follow(seen: DiskIdentity): void {
    // A file looks different with another size, but a block device was not written for it.
    const isExplained = !this.activity.explained || this.isOfOwnWrites(seen);
    this.note(seen, isExplained);
    if (!isExplained) this.options.onOutsideChange(CHANGED_BY_ANOTHER);
    this.held = !this.options.watching;
    this.atRest = true;
    this.sight = this.sightNow();
  }

  /**
   * Reports a change that this server did not make. None of its own changes may have been in progress when it had made
   * `count` of them and the disk looked like `now`.
   */
  judge(now: DiskIdentity, count = this.activity.count): void {
    if (!this.options.watching) return;
    const isExplained = count === this.seenCount ? !isWrittenSince(this.seen, now) : this.isOfOwnWrites(now);
    this.note(now, isExplained, count);
    if (!isExplained) this.options.onOutsideChange(CHANGED_BY_ANOTHER);
  }

  /** Stops watching, because the disk is about to be closed. */
  close(): void {
    this.closed = true;
  }

  /** Deletes what only a start after a crash needs. The disk may not be written any more. */
  discard(): void {
    this.activity.explained?.detach();
    this.limit?.release();
    this.limit = undefined;
  }

  /** A write by this server sets the file's time to a moment between the last look and the end of the write. */
  private isOfOwnWrites(now: DiskIdentity): boolean {
    const { explained } = this.activity;
    if (explained && now.counters) return countedSectors(now.counters) <= explained.limit;
    const [writtenAt, writtenBefore] = [lastWriteOf(now), lastWriteOf(this.seen)];
    if (writtenAt === undefined || writtenBefore === undefined) return true;
    // A file may have a time in the future.
    const isPutBack = writtenAt < Math.min(writtenBefore, this.seenAt.at) - PUT_BACK_MILLISECONDS;
    if (isPutBack && !wasSetBack(this.seenAt, momentNow(this.options.bootId))) return false;
    return writtenAt <= this.activity.lastEndedAt;
  }

  /** Names the shared number even at rest, so that the next start can delete it. */
  private sightNow(): LastSight {
    return { moment: momentNow(this.options.bootId), ...(this.limit && { limitPath: this.limit.path }) };
  }

  /**
   * A change by another program raises the limit only at rest. Otherwise the start after a kill would find the change
   * explained if the store does not say yet that the bitmaps are inconsistent.
   */
  private note(seen: DiskIdentity, isExplained: boolean, count = this.activity.count): void {
    this.seen = seen;
    this.seenAt = momentNow(this.options.bootId);
    this.seenCount = count;
    if (seen.counters && (isExplained || this.atRest)) this.activity.explained?.restart(countedSectors(seen.counters));
  }

  /** What other threads need in order to explain their writes to a block device; undefined if they cannot. */
  explainElsewhere(): SharedExplanation | undefined {
    this.beginToExplain();
    const { counting } = this.options;
    return this.limit && counting && { path: this.limit.path, counting };
  }

  /** From the first write on, because a disk that is only read needs no shared memory. */
  private beginToExplain(): void {
    const { counters } = this.seen;
    const { counting } = this.options;
    if (this.activity.explained || !counters || !counting) return;
    this.limit = this.options.shareNumber();
    const { parts, besides: ended } = this.limit ?? { parts: new Float64Array(1), besides: new Float64Array(1) };
    this.activity.explained = new ExplainedWrites({ parts, ended }, countedSectors(counters), counting);
  }

  /** Finds writes by other programs to a block device even while this server writes to it. */
  private async compareWhileWritten(): Promise<void> {
    const isExplained = await this.activity.explained?.compare(async () => {
      const counters = await this.options.readCounters();
      return counters && countedSectors(counters);
    });
    if (isExplained === false) this.options.onOutsideChange(CHANGED_BY_ANOTHER);
  }

  private isQuiet(): boolean {
    const { inFlight, lastEndedAt } = this.activity;
    return inFlight === 0 && Math.abs(Date.now() - lastEndedAt) >= REST_MILLISECONDS;
  }

  /** Most disks are at rest at most ticks, so this makes no promise and no commit waits for its turn. */
  private looksTheSameNow(): boolean {
    const { modifiedAt, changedAt } = this.seen;
    const now = this.options.timesNow?.();
    if (now?.modifiedAt !== modifiedAt || now?.changedAt !== changedAt) return false;
    this.note(this.seen, true);
    return true;
  }

  /** Stores changes such as a new owner or name too, so that they do not look like writes after a crash. */
  private lookAtRest(): Promise<Errno> {
    return this.options.save(async () => {
      const { modifiedAt, changedAt } = this.seen;
      const now = this.atRest ? await this.tryIdentify() : undefined;
      if (!now) return undefined;
      this.judge(now);
      return modifiedAt === now.modifiedAt && changedAt === now.changedAt ? undefined : [this.describe()];
    });
  }

  private async compareAtRest(): Promise<void> {
    const now = await this.tryIdentify();
    if (now) this.judge(now);
    else this.options.onOutsideChange('it is not known whether another program changed the disk while it was served');
  }

  private async tryIdentify(): Promise<DiskIdentity | undefined> {
    if (this.closed) return undefined;
    return this.options.identify().catch(() => undefined);
  }

  /** False when writes by this server are in progress, so that nothing can be concluded. */
  private async look(): Promise<boolean> {
    const { count, inFlight } = this.activity;
    if (inFlight > 0) return false;
    const now = await this.tryIdentify();
    if (!now || this.activity.inFlight > 0 || this.activity.count !== count) return false;
    // Another thread may have written since.
    this.judge(now, count);
    return true;
  }
}
