import { EIO, type Errno, errnoOf, OK } from '../../base/errno.js';
import { giveWay } from '../../base/loop-share.js';
import { slicesOf } from '../../base/slices.js';
import type { BitmapSet } from '../bitmap-set.js';
import { type ChangeRecorder, RECORDED_TOGETHER_BYTES } from '../change-recorder.js';
import type { Change } from './key-value-store.js';
import { LookAhead } from './look-ahead.js';
import { RegionEntries, type RegionEntriesOptions } from './region-entries.js';
import { ACTIVE, COLD, MARKED, RegionTable } from './region-table.js';
import { TaskQueue } from './task-queue.js';
import type { WriteLease } from './write-lease.js';

/** Largest part of the allowed active regions that is marked ahead of one sequential writer. */
const MAX_PART_AHEAD = 1 / 2;
/** More marks are requested when less than this part of them is left ahead, so that one commit sets several. */
const PART_LEFT_AHEAD = 3 / 4;

/** Regions that one commit marks for a long range, or cools. Each takes a few microseconds. */
const MARKED_TOGETHER = 512;

export interface WriteIntentLogOptions extends RegionEntriesOptions {
  readonly diskBytes: number;
  readonly regionBytes: number;
  /** With more active regions than this, the least recently written ones cool. A burst may exceed it for a moment. */
  readonly maxActiveRegions: number;
  readonly bitmaps: BitmapSet;
  readonly lease: WriteLease;
  /** Called when the marks that a change waits for cannot be stored. True: the change may go on without them. */
  readonly onLostMarks: (errno: Errno) => boolean;
  /** Called with an unexpected error, which has also failed the operation. */
  readonly onBug: (bug: unknown) => void;
}

/**
 * The write-intent log of one disk. A change that would set a new bit of a persistent bitmap waits until its region is
 * durably marked, and sets its bits only then. So in a region without a mark, the bits in memory are those in the store.
 * After a crash every granule of a marked region counts as dirty. The idea comes from DRBD's activity log.
 *
 * Marks that are needed at the same time share one commit. One commit cools a region: it stores the region's bits and
 * removes its mark. After a failed commit the content of the store is unknown, so changes are not recorded until a
 * commit has written everything again.
 */
export class WriteIntentLog implements ChangeRecorder {
  private readonly regions: RegionTable;
  private readonly entries: RegionEntries;
  /** Regions whose marks go into the next commit. */
  private readonly wanted = new Set<number>();
  /** The commit that marks each region on its way, whether running or still to come. */
  private readonly marking = new Map<number, Promise<Errno>>();
  /** The next commit, which will carry the wanted marks. */
  private nextMarks: Promise<Errno> | undefined;
  private readonly lookAhead: LookAhead;
  /** Runs commits one at a time, because each depends on the outcome of the last. */
  private readonly queue = new TaskQueue();
  /** Whether the store holds what its commits said. */
  private believed = true;
  /** The store failed, and writes go on without it as configured; no persistent bitmap is trusted then. */
  private adrift = false;

  constructor(private readonly options: WriteIntentLogOptions) {
    this.regions = new RegionTable(options.diskBytes, options.regionBytes);
    this.entries = new RegionEntries(options, this.regions);
    this.lookAhead = new LookAhead(Math.floor(options.maxActiveRegions * MAX_PART_AHEAD));
  }

  get activeRegions(): number {
    return this.regions.activeCount;
  }

  recordNow(offset: number, length: number): boolean {
    const { regions } = this;
    const { regionBytes, bitmaps } = this.options;
    if (!this.adrift && !(this.believed && this.options.lease.held)) return false;
    const first = Math.floor(offset / regionBytes);
    const last = Math.floor((offset + length - 1) / regionBytes);
    for (let region = first; region <= last; region++) {
      const state = regions.stateOf(region);
      if (state === ACTIVE) regions.touch(region);
      else if (state === MARKED) this.enter(region);
      else if (!this.isDirtyWithin(region, offset, length)) return false;
    }
    bitmaps.markDirty(offset, length);
    return true;
  }

  async record(offset: number, length: number): Promise<Errno> {
    const windowBytes = Math.max(RECORDED_TOGETHER_BYTES, MARKED_TOGETHER * this.options.regionBytes);
    for (const window of slicesOf(offset, length, windowBytes)) {
      if (window.offset > offset) await giveWay();
      const errno = await this.recordWindow(window.offset, window.length);
      if (errno !== OK) return errno;
    }
    return OK;
  }

  /** One turn of the clock: cools regions that were not written for more than `turns` turns, in several commits. */
  async cool(turns: number): Promise<Errno> {
    this.regions.turn();
    this.lookAhead.turn();
    for (;;) {
      let isLast = true;
      const errno = await this.enqueue(() => {
        const idle = this.regions.idleFor(turns);
        isLast = idle.length <= MARKED_TOGETHER;
        return idle.length > 0 || !this.believed ? this.commit([], idle.slice(0, MARKED_TOGETHER)) : OK;
      });
      if (errno !== OK || isLast) return errno;
    }
  }

  /** Extends the write lease. */
  renewLease(): Promise<Errno> {
    return this.nextCommit();
  }

  /** Stores what `prepare` returns, if anything, while no other commit of this disk is running. */
  save(prepare: () => Promise<readonly Change[] | undefined>): Promise<Errno> {
    return this.enqueue(async () => {
      const changes = await prepare();
      return changes ? this.commit([], [], changes) : OK;
    });
  }

  /** Stores everything and removes every mark. Nothing may be recorded after that. */
  close(last: readonly Change[]): Promise<Errno> {
    return this.enqueue(() => this.commit([], this.regions.activeRegions(), last));
  }

  /** Waits for the commits queued so far, and holds back later ones until the returned function is called. */
  hold(): Promise<() => void> {
    return this.queue.hold();
  }

  /** Resolves when the commits queued so far have finished. */
  idle(): Promise<void> {
    return this.queue.idle();
  }

  /** The changes that make the stored bitmaps match memory. Commit them under `hold`. */
  changes(): Change[] {
    return this.believed ? this.entries.changes() : this.entries.everything();
  }

  /** Notes the outcome of a commit of `changes`; `committed` is false when it failed or its outcome is unknown. */
  settled(committed: boolean): void {
    if (committed) this.adrift = false;
    else this.options.stored.forget();
    this.believed = committed;
  }

  /** A bug left bitmaps half changed. Marks all of them inconsistent; the next commit stores that. */
  distrust(bug: unknown): void {
    const { bitmaps, onBug } = this.options;
    for (const { name } of bitmaps.list()) bitmaps.markInconsistent(name, 'a change to it failed halfway');
    this.settled(false);
    onBug(bug);
  }

  /**
   * Follows the disk to another size. Call it under `hold`, with no change in progress. Every region is cold afterwards,
   * because the bitmaps are stored again as a whole. Returns the removals of the marks, to be committed with them.
   */
  resize(diskBytes: number): Change[] {
    const marks = this.entries.removals(this.regions.activeRegions());
    this.regions.resize(diskBytes);
    this.wanted.clear();
    this.marking.clear();
    return marks;
  }

  /** Records a window whose regions are marked by one commit and stay marked until all of it is recorded. */
  private async recordWindow(offset: number, length: number): Promise<Errno> {
    const [first, last] = this.regions.touchedBy(offset, length);
    this.regions.countWaiting(first, last, 1);
    try {
      for (const slice of slicesOf(offset, length, RECORDED_TOGETHER_BYTES)) {
        if (slice.offset > offset) await giveWay();
        // The check and the recording are one step, so no region cools between them.
        while (!this.recordNow(slice.offset, slice.length)) {
          this.want(first, last);
          const errno = await this.nextCommitFor(...this.regions.touchedBy(slice.offset, slice.length));
          if (errno === OK) continue;
          if (!this.options.onLostMarks(errno)) return errno;
          this.adrift = true;
        }
      }
      return OK;
    } finally {
      this.regions.countWaiting(first, last, -1);
    }
  }

  private isDirtyWithin(region: number, offset: number, length: number): boolean {
    const { regionBytes, bitmaps } = this.options;
    const from = Math.max(offset, region * regionBytes);
    const end = Math.min(offset + length, (region + 1) * regionBytes);
    return bitmaps.isPersistentlyDirty(from, end - from);
  }

  /** The first write to a marked region. */
  private enter(region: number): void {
    const now = performance.now();
    this.regions.enter(region, now);
    if (!this.isWrittenThrough(region - 1)) return;
    this.lookAhead.noteRegion(now - this.regions.enteredAt(region - 1));
    this.markAhead(region);
  }

  /** Whether a region was written sequentially: it is active, and dirty where random writes would leave gaps. */
  private isWrittenThrough(region: number): boolean {
    const { regionBytes } = this.options;
    if (this.regions.stateOf(region) !== ACTIVE) return false;
    return this.isDirtyWithin(region, (region + 0.5) * regionBytes, regionBytes / 4);
  }

  private markAhead(region: number): void {
    const ahead = this.lookAhead.regions;
    const last = Math.min(region + ahead, this.regions.count - 1);
    const due = Math.min(region + Math.ceil(ahead * PART_LEFT_AHEAD), last);
    if (this.regions.stateOf(due) === COLD && !this.marking.has(due)) this.want(region + 1, last);
  }

  /** Requests marks for those of the regions that are cold. */
  private want(first: number, last: number): void {
    for (let region = first; region <= last && region < this.regions.count; region++) {
      if (this.regions.stateOf(region) !== COLD || this.marking.has(region)) continue;
      this.wanted.add(region);
      this.marking.set(region, this.nextCommit());
    }
  }

  /** The commit that marks one of these regions; if there is none, the next commit. */
  private nextCommitFor(first: number, last: number): Promise<Errno> {
    for (let region = first; region <= last; region++) {
      const marking = this.marking.get(region);
      if (marking) return marking;
    }
    return this.nextCommit();
  }

  /** The commit that will carry the marks wanted so far. It begins when the one before it has finished. */
  private nextCommit(): Promise<Errno> {
    this.nextMarks ??= this.enqueue(async () => {
      let marks: readonly number[] = [];
      try {
        const renewal = await this.options.lease.renew().finally(() => {
          this.nextMarks = undefined;
          marks = [...this.wanted];
          this.wanted.clear();
        });
        const excess = this.regions.activeCount + marks.length - this.options.maxActiveRegions;
        const cooling = excess > 0 ? this.regions.leastRecentlyWritten(excess) : [];
        const errno = await this.commit(marks, cooling, renewal.changes);
        if (errno === OK) renewal.granted();
        return errno;
      } finally {
        // Also when nothing was committed: otherwise later requests for such a mark would get this answer forever.
        for (const region of marks) this.marking.delete(region);
      }
    });
    return this.nextMarks;
  }

  /** An error thrown by `run` is a bug. The store is then no longer believed, and the callers get an errno. */
  private enqueue(run: () => Promise<Errno> | Errno): Promise<Errno> {
    return this.queue.run(run, (bug) => {
      this.settled(false);
      this.options.onBug(bug);
      return EIO;
    });
  }

  /** Marks some regions, cools others, and saves the changes of the bitmaps. */
  private async commit(
    marks: readonly number[],
    cooling: readonly number[],
    more: readonly Change[] = [],
  ): Promise<Errno> {
    // These regions are cold from here on. If the commit fails, the store is not believed anyway.
    for (const region of cooling) this.regions.cool(region);
    const changes = [...this.changes(), ...this.entries.coolings(cooling), ...this.entries.marks(marks), ...more];
    const began = performance.now();
    const failure = await this.options.store.commit(changes).then((): Errno => OK, errnoOf);
    if (failure !== OK) {
      this.settled(false);
      return failure;
    }
    this.lookAhead.noteCommit(performance.now() - began);
    this.settled(true);
    for (const region of marks) this.regions.mark(region);
    return OK;
  }
}
