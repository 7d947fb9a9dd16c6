import { type Errno, OK } from '../../base/errno.js';
import { slicesOf } from '../../base/extents.js';
import { giveWay } from '../../base/loop-share.js';
import { runGivingWay } from '../../base/steps.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { ChangeRecorder } from '../change-recorder.js';
import { CommitPressure } from './commit-pressure.js';
import { DiskCommits } from './disk-commits.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { LookAhead } from './look-ahead.js';
import { chooseMarks } from './mark-choice.js';
import { PendingMarks } from './pending-marks.js';
import { RegionMark } from './region-mark.js';
import { RegionTable } from './region-table.js';
import type { StoredBitmaps } from './stored-bitmaps.js';
import type { WriteLease } from './write-lease.js';

/** The largest part of the regions that may be marked which is marked ahead of one sequential writer. */
const MAX_PART_AHEAD = 1 / 2;
/** A sequential writer with a longer reach than this gets whole regions, which cost each of its writes less. */
const EXACT_REACH_REGIONS = 4;

/** How many regions one commit marks for a long range, or cools. Each takes a few microseconds. */
const MARKED_TOGETHER = 512;
/** How many regions can be entered in less than a millisecond with one bitmap, and how many bitmaps double the cost. */
const ENTERED_TOGETHER = 512;
const BITMAPS_OF_DOUBLE_COST = 16;

export interface WriteIntentLogOptions {
  readonly exportName: string;
  readonly diskBytes: number;
  readonly regionBytes: number;
  /** When more regions than this are marked whole, those calm for longest cool. A burst may exceed it for a moment. */
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
 * The write-intent log of one disk. A change that would set a new bit of a persistent bitmap waits until it is durably
 * marked, and sets its bits only then. A mark names pieces of a region, or the whole region. So in what is not named,
 * the bits in memory equal those in the store. After a crash, every granule that is named counts as dirty. The idea comes
 * from DRBD's activity log.
 *
 * Marks name what is written exactly, which takes a commit for each new granule, as long as commits do not hold the
 * writers up (`CommitPressure`). A region cools by a commit that stores its bits and removes its mark: both or neither.
 */
export class WriteIntentLog implements ChangeRecorder {
  readonly commits: DiskCommits;
  private readonly regions: RegionTable;
  private readonly marks: PendingMarks;
  private readonly pressure = new CommitPressure(performance.now());
  private readonly lookAhead: LookAhead;

  constructor(private readonly options: WriteIntentLogOptions) {
    const { diskBytes, regionBytes, maxActiveRegions, bitmaps } = options;
    this.regions = new RegionTable(diskBytes, regionBytes);
    this.commits = new DiskCommits({ ...options, regions: this.regions });
    this.marks = new PendingMarks(
      (take) => this.commitMarks(take),
      () => RegionMark.empty(regionBytes, bitmaps.smallestPersistent),
    );
    this.lookAhead = new LookAhead(Math.floor(maxActiveRegions * MAX_PART_AHEAD) * regionBytes, ({ from, end }) =>
      bitmaps.isPersistentlyDirty(Math.floor(from), Math.ceil(end - from)),
    );
  }

  /** How many regions have marks. */
  get activeRegions(): number {
    return this.regions.size;
  }

  /** How many of them are marked whole. */
  get wholeRegions(): number {
    return this.regions.wholeSize;
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
      if (!regions.isEntered(region) && !this.mayRecord(region, offset, length)) return false;
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

  /** One tick of the clock: regions that are calm for more than `ticks` ticks cool, some with each commit. */
  async cool(ticks: number): Promise<Errno> {
    const { bitmaps } = this.options;
    this.lookAhead.tick();
    this.pressure.tick();
    if (this.isIdle()) return OK;
    const wholeTicks = Math.min(ticks, this.pressure.ticksToCalm);
    await runGivingWay(this.regions.ticking(({ offset, length }) => bitmaps.persistentlyDirtyBytes(offset, length)));
    for (;;) {
      let isLast = true;
      const errno = await this.commits.commit(async () => {
        const idle = this.regions.calmFor(wholeTicks, ticks);
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

  /** One commit marks all of it, and its regions stay marked until all of it is recorded. */
  private async recordWindow(offset: number, length: number): Promise<Errno> {
    const release = this.regions.keep(...this.regions.regionsOf(offset, length));
    this.follow(offset, offset + length, true);
    try {
      for (const slice of slicesOf(offset, length, this.sliceBytes)) {
        const isPart = slice.length < length;
        if (isPart) await giveWay();
        // No region cools between the check and setting the bits, because both are one step.
        while (!this.recordNow(slice.offset, slice.length)) {
          this.want(offset, offset + length);
          const errno = await this.waitFor(slice.offset, slice.offset + slice.length);
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

  /** Whether the part of a change in this region may set its bits. */
  private mayRecord(region: number, offset: number, length: number): boolean {
    const { regions } = this;
    const start = region * regions.regionBytes;
    const from = Math.max(offset, start);
    const end = Math.min(offset + length, start + regions.regionBytes);
    const mark = regions.markOf(region);
    if (mark?.isWhole) regions.enter(region);
    else if (this.options.bitmaps.isPersistentlyDirty(from, end - from)) return true;
    else if (!mark?.covers(from - start, end - start)) return false;
    this.follow(from, end, false);
    return true;
  }

  /** Asks for marks ahead of a sequential writer. `waits`: what it writes is not marked. */
  private follow(from: number, end: number, waits: boolean): void {
    const { regionBytes, diskBytes } = this.options;
    const ahead = this.lookAhead.note({ from, end }, waits, performance.now());
    if (!ahead) return;
    const isFar = ahead.end - end > EXACT_REACH_REGIONS * regionBytes;
    const [first, last] = this.regions.regionsOf(ahead.from, ahead.end - ahead.from);
    const part = isFar ? { from: first * regionBytes, end: (last + 1) * regionBytes } : ahead;
    this.want(part.from, Math.min(part.end, diskBytes));
  }

  /** Asks for marks on this part of the disk, where it is not named yet. */
  private want(from: number, end: number): void {
    this.eachRegion(from, end, (region, start, stop) => {
      if (!this.regions.markOf(region)?.covers(start, stop)) this.marks.add(region, start, stop);
    });
  }

  /** Waits for a commit that marks some of this part of the disk, or for the next commit if all of it is marked. */
  private async waitFor(from: number, end: number): Promise<Errno> {
    let commit: Promise<Errno> | undefined;
    this.eachRegion(from, end, (region, start, stop) => {
      if (!this.regions.markOf(region)?.covers(start, stop)) commit ??= this.marks.commitOf(region, start, stop);
    });
    this.pressure.wait(performance.now());
    try {
      return await (commit ?? this.marks.nextCommit());
    } finally {
      this.pressure.goOn(performance.now());
    }
  }

  /** Calls `visit` with each region that the part touches, and with where in the region it lies. */
  private eachRegion(from: number, end: number, visit: (region: number, start: number, stop: number) => void): void {
    if (from >= end) return;
    const { regionBytes } = this.regions;
    const [first, last] = this.regions.regionsOf(from, end - from);
    for (let region = first; region <= last; region++) {
      const start = region * regionBytes;
      visit(region, Math.max(from - start, 0), Math.min(end - start, regionBytes));
    }
  }

  /** Renews the lease too. */
  private commitMarks(take: () => ReadonlyMap<number, RegionMark>): Promise<Errno> {
    return this.commits.commit(async () => {
      const renewal = await this.options.lease.renew();
      const began = performance.now();
      const { maxActiveRegions } = this.options;
      const { marks, cooling } = chooseMarks(this.regions, take(), maxActiveRegions, this.pressure.isHigh);
      const plan = this.commits.plan({ marks, cooling, changes: renewal.changes });
      const accept = () => {
        plan.accept();
        renewal.granted();
        const now = performance.now();
        this.lookAhead.noteCommit(now - began);
        this.pressure.noteCommit(now);
      };
      return { ...plan, accept };
    });
  }
}
