import { type Errno, OK } from '../../base/errno.js';
import { slicesOf } from '../../base/extents.js';
import { giveWay } from '../../base/loop-share.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { ChangeRecorder } from '../change-recorder.js';
import { DiskCommits } from './disk-commits.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { LookAhead } from './look-ahead.js';
import { PendingMarks } from './pending-marks.js';
import { RegionTable } from './region-table.js';
import type { StoredBitmaps } from './stored-bitmaps.js';
import type { WriteLease } from './write-lease.js';

/** The largest part of the regions that may be marked which is marked ahead of one sequential writer. */
const MAX_PART_AHEAD = 1 / 2;
/** More marks are asked for when less than this part of them is left ahead, so that one commit makes many of them. */
const PART_LEFT_AHEAD = 3 / 4;

/** How many regions one commit marks for a long range, or cools. Each takes a few microseconds. */
const MARKED_TOGETHER = 512;
/** How many regions can be entered in less than a millisecond with one bitmap, and how many bitmaps double the cost. */
const ENTERED_TOGETHER = 512;
const BITMAPS_OF_DOUBLE_COST = 16;

export interface WriteIntentLogOptions {
  readonly exportName: string;
  readonly diskBytes: number;
  readonly regionBytes: number;
  /** When more regions than this are marked, those not written for longest cool. A burst may exceed it for a moment. */
  readonly maxActiveRegions: number;
  readonly store: KeyValueStore;
  readonly bitmaps: BitmapSet;
  readonly stored: StoredBitmaps;
  /** The entry that describes the disk while it is served. */
  readonly describeDisk: () => Change;
  readonly lease: WriteLease;
  /** Called when the marks that a change waits for cannot be stored. Returns whether changes may go on without marks. */
  readonly onLostMarks: (errno: Errno) => boolean;
  /** Called when it is no longer known what the store holds. */
  readonly onDoubt: () => void;
  /** Called with an error that nobody expects; what was asked for has failed with it. */
  readonly onBug: (bug: unknown) => void;
}

/**
 * The write-intent log of one disk. A change that would set a new bit of a persistent bitmap waits until its region is
 * durably marked, and sets its bits only then. So in a region without a mark, the bits in memory equal those in the
 * store. After a crash, every granule of a marked region counts as dirty. The idea comes from DRBD's activity log.
 *
 * A region cools by a commit that stores its bits and removes its mark: both or neither.
 */
export class WriteIntentLog implements ChangeRecorder {
  readonly commits: DiskCommits;
  private readonly regions: RegionTable;
  private readonly marks = new PendingMarks((take) => this.commitMarks(take));
  private readonly lookAhead: LookAhead;

  constructor(private readonly options: WriteIntentLogOptions) {
    const { diskBytes, regionBytes, maxActiveRegions } = options;
    this.regions = new RegionTable(diskBytes, regionBytes);
    this.commits = new DiskCommits({ ...options, regions: this.regions });
    this.lookAhead = new LookAhead(Math.floor(maxActiveRegions * MAX_PART_AHEAD));
  }

  get activeRegions(): number {
    return this.regions.size;
  }

  /** Limits both the bits that are set and the regions that are entered in one step. */
  get sliceBytes(): number {
    const { regionBytes, bitmaps } = this.options;
    const regions = Math.ceil(ENTERED_TOGETHER / (1 + bitmaps.persistentlyRecording / BITMAPS_OF_DOUBLE_COST));
    return Math.min(bitmaps.sliceBytes, regions * regionBytes);
  }

  recordNow(offset: number, length: number): boolean {
    const { regions } = this;
    const { storeIs } = this.commits;
    if (storeIs === 'doubted' || (storeIs === 'believed' && !this.options.lease.held)) return false;
    const first = Math.floor(offset / regions.regionBytes);
    const last = Math.floor((offset + length - 1) / regions.regionBytes);
    for (let region = first; region <= last; region++) {
      if (regions.touch(region)) continue;
      if (regions.isMarked(region)) this.enter(region);
      else if (!this.isDirtyWithin(region, offset, length)) return false;
    }
    this.options.bitmaps.markDirty(offset, length);
    return true;
  }

  async record(offset: number, length: number): Promise<Errno> {
    const windowBytes = MARKED_TOGETHER * this.options.regionBytes;
    for (const window of slicesOf(offset, length, windowBytes)) {
      if (window.offset > offset) await giveWay();
      const errno = await this.recordWindow(window.offset, window.length);
      if (errno !== OK) return errno;
    }
    return OK;
  }

  /** One tick of the clock: regions that were not written for more than `ticks` ticks cool, some with each commit. */
  async cool(ticks: number): Promise<Errno> {
    this.regions.tick();
    this.lookAhead.tick();
    if (this.isIdle()) return OK;
    for (;;) {
      let isLast = true;
      const errno = await this.commits.commit(async () => {
        const idle = this.regions.unwrittenFor(ticks);
        const { hasGarbage } = this.options.stored;
        isLast = idle.length <= MARKED_TOGETHER && !hasGarbage;
        const isDue = idle.length > 0 || hasGarbage || this.commits.storeIs !== 'believed';
        return isDue ? this.commits.plan({ cooling: idle.slice(0, MARKED_TOGETHER) }) : undefined;
      });
      if (errno !== OK || isLast) return errno;
    }
  }

  /** Nothing can cool, and there is nothing else for a commit to do. */
  private isIdle(): boolean {
    const { regions, commits, options } = this;
    return regions.size === 0 && commits.storeIs === 'believed' && !options.stored.hasGarbage;
  }

  /** Allows writes for a further while. */
  renewLease(): Promise<Errno> {
    return this.marks.nextCommit();
  }

  /** Stores what `prepare` returns, if anything, while no other commit for the disk is running. */
  save(prepare: () => Promise<readonly Change[] | undefined>): Promise<Errno> {
    return this.commits.commit(async () => {
      const changes = await prepare();
      return changes && this.commits.plan({ changes });
    });
  }

  /** Stores everything exactly, and removes all marks and all garbage. Nothing may be recorded from then on. */
  async close(last: readonly Change[]): Promise<Errno> {
    let errno: Errno = OK;
    while (errno === OK && this.options.stored.hasGarbage) {
      errno = await this.commits.commit(async () => this.commits.plan());
    }
    const closed = await this.commits.commitLast(async () =>
      errno === OK ? this.commits.plan({ cooling: this.regions.list(), changes: last }) : undefined,
    );
    return errno === OK ? closed : errno;
  }

  /**
   * Follows the disk to another size, within `pass` and while no change is under way. All regions are cold then, and
   * the next commit stores everything again.
   */
  resize(diskBytes: number): void {
    this.regions.reset(diskBytes);
    this.marks.clear();
    this.commits.doubt();
  }

  /** One commit marks its regions, and they stay marked until all of it is recorded. */
  private async recordWindow(offset: number, length: number): Promise<Errno> {
    const [first, last] = this.regions.regionsOf(offset, length);
    const release = this.regions.keep(first, last);
    try {
      for (const slice of slicesOf(offset, length, this.sliceBytes)) {
        const isPart = slice.length < length;
        if (isPart) await giveWay();
        // No region cools between the check and setting the bits, because both are one step.
        while (!this.recordNow(slice.offset, slice.length)) {
          this.want(first, last);
          const errno = await this.marks.commitFor(...this.regions.regionsOf(slice.offset, slice.length));
          if (errno === OK && isPart) await giveWay();
          if (errno === OK) continue;
          if (!this.options.onLostMarks(errno)) return errno;
          this.commits.ignoreStore();
        }
      }
      return OK;
    } finally {
      release();
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
    const before = this.regions.firstWrittenAt(region - 1);
    if (before === undefined || !this.isWrittenThrough(region - 1)) return;
    this.lookAhead.noteRegion(now - before);
    this.markAhead(region);
  }

  /** Whether a region is dirty where random writes would leave gaps. */
  private isWrittenThrough(region: number): boolean {
    const { regionBytes } = this.options;
    return this.isDirtyWithin(region, (region + 0.5) * regionBytes, regionBytes / 4);
  }

  private markAhead(region: number): void {
    const { regions: reach } = this.lookAhead;
    const last = Math.min(region + reach, this.regions.last);
    const due = Math.min(region + Math.ceil(reach * PART_LEFT_AHEAD), last);
    if (!this.regions.isMarked(due) && !this.marks.has(due)) this.want(region + 1, last);
  }

  /** Asks for marks on those of the regions that are cold. */
  private want(first: number, last: number): void {
    for (let region = first; region <= Math.min(last, this.regions.last); region++) {
      if (!this.regions.isMarked(region)) this.marks.add(region);
    }
  }

  /** Renews the lease too. */
  private commitMarks(take: () => readonly number[]): Promise<Errno> {
    return this.commits.commit(async () => {
      const renewal = await this.options.lease.renew();
      const began = performance.now();
      const marks = take();
      const excess = this.regions.size + marks.length - this.options.maxActiveRegions;
      const cooling = excess > 0 ? this.regions.longestUnwritten(excess) : [];
      const plan = this.commits.plan({ marks, cooling, changes: renewal.changes });
      const accept = () => {
        plan.accept();
        renewal.granted();
        this.lookAhead.noteCommit(performance.now() - began);
      };
      return { ...plan, accept };
    });
  }
}
