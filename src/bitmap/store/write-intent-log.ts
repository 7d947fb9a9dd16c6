import { EIO, type Errno, errnoOf, OK } from '../../base/errno.js';
import { giveWay } from '../../base/loop-share.js';
import { slicesOf } from '../../base/slices.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { ChangeRecorder } from '../change-recorder.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, regionKey } from './keys.js';
import { LookAhead } from './look-ahead.js';
import { joined, partsOf, type Saving } from './saving.js';
import type { ByteRange, StoredBitmaps } from './stored-bitmaps.js';
import type { WriteLease } from './write-lease.js';

/** A region is cold, without a mark that counts; durably marked, and waiting for its first write; or active. */
const COLD = 0;
const MARKED = 1;
const ACTIVE = 2;

/** The part of the regions that may be active which is marked ahead of one sequential writer, at the most. */
const MAX_PART_AHEAD = 1 / 2;
/** Marks are asked for again when less than this part of them is left ahead: a commit for a few at a time. */
const PART_LEFT_AHEAD = 3 / 4;

/** Regions that one commit marks for a long range, and those that one commit cools: each is a few microseconds of work. */
const MARKED_TOGETHER = 512;
/** Regions that can be entered in less than a millisecond with one bitmap, and the bitmaps that double the cost of one. */
const ENTERED_TOGETHER = 512;
const BITMAPS_OF_DOUBLE_COST = 16;

const MARK = Buffer.from([1]);

export interface WriteIntentLogOptions {
  readonly exportName: string;
  readonly diskBytes: number;
  readonly regionBytes: number;
  /** With more active regions than this, those not written for longest cool. A burst may exceed it for a moment. */
  readonly maxActiveRegions: number;
  readonly store: KeyValueStore;
  readonly bitmaps: BitmapSet;
  readonly stored: StoredBitmaps;
  /** What the store is to say of the disk while it is served. */
  readonly describeDisk: () => Change;
  readonly lease: WriteLease;
  /** Told when the marks that a change waits for cannot be stored. True when the change may go on without. */
  readonly onLostMarks: (errno: Errno) => boolean;
  /** Told of an error that nobody expects; what was asked for has failed with it. */
  readonly onBug: (bug: unknown) => void;
}

/**
 * The write-intent log of one disk. A change that would set a new bit of a persistent bitmap waits until its region
 * is durably marked, and sets its bits only then; so in a region without a mark the bits in memory are those in the
 * store. After a crash every granule of a marked region counts as dirty. Source of the idea: DRBD's activity log.
 *
 * All marks that are waited for at a time share one commit. A region cools by a commit that stores its bits and takes
 * its mark away, both or neither. After a commit that failed nobody knows what the store holds, so nothing in it is
 * believed, and nothing recorded on the strength of it, until one commit has written everything anew.
 */
export class WriteIntentLog implements ChangeRecorder {
  private diskBytes: number;
  private states: Uint8Array;
  /** The turn of the cooling clock in which an active region was last written. */
  private lastWritten: Uint32Array;
  /** Regions with a mark that counts, and when each was first written, in milliseconds; 0 before that. */
  private readonly active = new Map<number, number>();
  private readonly wanted = new Set<number>();
  /** The commit on which the mark of a region is, or will be, on its way. */
  private readonly marking = new Map<number, Promise<Errno>>();
  /** How many changes wait for the mark of a region. */
  private readonly awaited = new Map<number, number>();
  /** Settles with the commit that the wanted marks go into. */
  private nextMarks: Promise<Errno> | undefined;
  private readonly lookAhead: LookAhead;
  /**
   * Settles when the last commit asked for is through, and never rejects, for all to come wait for it. There is one at a
   * time, so each is built on what came of the last.
   */
  private queue: Promise<unknown> = Promise.resolve();
  private clock = 0;
  /** Whether the store holds what its commits said. */
  private believed = true;
  /** Changes go on although it does not, as the operator wants it; no persistent bitmap is trusted then. */
  private adrift = false;

  constructor(private readonly options: WriteIntentLogOptions) {
    this.diskBytes = options.diskBytes;
    const regions = Math.ceil(options.diskBytes / options.regionBytes);
    this.states = new Uint8Array(regions);
    this.lastWritten = new Uint32Array(regions);
    this.lookAhead = new LookAhead(Math.floor(options.maxActiveRegions * MAX_PART_AHEAD));
  }

  get activeRegions(): number {
    return this.active.size;
  }

  /** Limits both the bits that are set and the regions that are entered in one step. */
  get sliceBytes(): number {
    const { regionBytes, bitmaps } = this.options;
    const regions = Math.ceil(ENTERED_TOGETHER / (1 + bitmaps.persistentlyRecording / BITMAPS_OF_DOUBLE_COST));
    return Math.min(bitmaps.sliceBytes, regions * regionBytes);
  }

  recordNow(offset: number, length: number): boolean {
    const { regionBytes, bitmaps } = this.options;
    if (!this.adrift && !(this.believed && this.options.lease.held)) return false;
    const first = Math.floor(offset / regionBytes);
    const last = Math.floor((offset + length - 1) / regionBytes);
    for (let region = first; region <= last; region++) {
      const state = this.states[region];
      if (state === ACTIVE) this.lastWritten[region] = this.clock;
      else if (state === MARKED) this.enter(region);
      else if (!this.isDirtyWithin(region, offset, length)) return false;
    }
    bitmaps.markDirty(offset, length);
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

  /** One turn of the clock: regions that were not written for `turns` of them cool, some at a time. */
  async cool(turns: number): Promise<Errno> {
    this.clock++;
    this.lookAhead.turn();
    for (;;) {
      let isLast = true;
      const errno = await this.enqueue(() => {
        const idle = this.coolable().filter((region) => this.clock - this.lastWritten[region]! > turns);
        const { hasGarbage } = this.options.stored;
        isLast = idle.length <= MARKED_TOGETHER && !hasGarbage;
        return idle.length > 0 || !this.believed || hasGarbage ? this.commit([], idle.slice(0, MARKED_TOGETHER)) : OK;
      });
      if (errno !== OK || isLast) return errno;
    }
  }

  /** Lets changes be made for another while. */
  renewLease(): Promise<Errno> {
    return this.nextCommit();
  }

  /** Stores what `prepare` answers, if it does; no other commit of this disk is under way meanwhile. */
  save(prepare: () => Promise<readonly Change[] | undefined>): Promise<Errno> {
    return this.enqueue(async () => {
      const changes = await prepare();
      return changes ? this.commit([], [], changes) : OK;
    });
  }

  /** Stores everything exactly, and takes every mark and all garbage away. Nothing may be recorded from then on. */
  close(last: readonly Change[]): Promise<Errno> {
    return this.enqueue(async () => {
      while (this.options.stored.hasGarbage) {
        const errno = await this.commit([], []);
        if (errno !== OK) return errno;
      }
      return this.commit([], [...this.active.keys()], last);
    });
  }

  /** Waits for the commits asked for, and holds back those to come until the function returned is called. */
  async hold(): Promise<() => void> {
    let release = () => {};
    const before = this.queue;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    this.queue = before.then(() => released);
    await before;
    return release;
  }

  /** Resolves when the commits asked for are through. */
  async idle(): Promise<void> {
    await this.queue;
  }

  /** What makes the store say what memory says of the bitmaps themselves. To be committed under `hold`. */
  changes(): Saving {
    const activeRanges = () => this.rangesOf(this.active.keys());
    return this.believed ? this.options.stored.changes(activeRanges) : this.everything();
  }

  /** The changes are committed, or it is not known whether they are. */
  settled(committed: boolean): void {
    if (committed) this.adrift = false;
    else this.options.stored.forget();
    this.believed = committed;
  }

  /** Bitmaps are half changed because of a bug. None is trusted any more, and the next commit says so. */
  distrust(bug: unknown): void {
    const { bitmaps, onBug } = this.options;
    for (const bitmap of bitmaps.list()) bitmap.markInconsistent('a change to it failed halfway');
    this.settled(false);
    onBug(bug);
  }

  /**
   * Follows the disk to another size, under `hold` and with no change under way. Every region is cold then, for the
   * bitmaps are stored anew as a whole; returns what takes the marks away, to be committed with them.
   */
  resize(diskBytes: number): Change[] {
    const { exportName, regionBytes } = this.options;
    const regions = Math.ceil(diskBytes / regionBytes);
    this.diskBytes = diskBytes;
    this.states = new Uint8Array(regions);
    this.lastWritten = new Uint32Array(regions);
    const marks = [...this.active.keys()].map((region) => ({ key: regionKey(exportName, region), value: undefined }));
    this.active.clear();
    this.wanted.clear();
    this.marking.clear();
    return marks;
  }

  /** Its regions are marked by one commit, and stay so until all of it is recorded. */
  private async recordWindow(offset: number, length: number): Promise<Errno> {
    const [first, last] = this.regionsOf(offset, length);
    this.awaitRegions(first, last, 1);
    try {
      for (const slice of slicesOf(offset, length, this.sliceBytes)) {
        const isPart = slice.length < length;
        if (isPart) await giveWay();
        // The check and the marking are one step: no region cools between them.
        while (!this.recordNow(slice.offset, slice.length)) {
          this.want(first, last);
          const errno = await this.nextCommitFor(...this.regionsOf(slice.offset, slice.length));
          if (errno === OK && isPart) await giveWay();
          if (errno === OK) continue;
          if (!this.options.onLostMarks(errno)) return errno;
          this.adrift = true;
        }
      }
      return OK;
    } finally {
      this.awaitRegions(first, last, -1);
    }
  }

  /** The first and the last one that a range touches. */
  private regionsOf(offset: number, length: number): [first: number, last: number] {
    const { regionBytes } = this.options;
    return [Math.floor(offset / regionBytes), Math.floor((offset + length - 1) / regionBytes)];
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
    this.states[region] = ACTIVE;
    this.lastWritten[region] = this.clock;
    this.active.set(region, now);
    if (!this.isWrittenThrough(region - 1)) return;
    this.lookAhead.noteRegion(now - this.active.get(region - 1)!);
    this.markAhead(region);
  }

  /** Whether a region was written by one who writes on and on: it is active, and dirty where random writes leave gaps. */
  private isWrittenThrough(region: number): boolean {
    const { regionBytes } = this.options;
    return this.states[region] === ACTIVE && this.isDirtyWithin(region, (region + 0.5) * regionBytes, regionBytes / 4);
  }

  private markAhead(region: number): void {
    const { regions } = this.lookAhead;
    const last = Math.min(region + regions, this.states.length - 1);
    const due = Math.min(region + Math.ceil(regions * PART_LEFT_AHEAD), last);
    if (this.states[due] === COLD && !this.marking.has(due)) this.want(region + 1, last);
  }

  /** Asks for marks on the cold ones of some regions. */
  private want(first: number, last: number): void {
    for (let region = first; region <= last && region < this.states.length; region++) {
      if (this.states[region] !== COLD || this.marking.has(region)) continue;
      this.wanted.add(region);
      this.marking.set(region, this.nextCommit());
    }
  }

  /** The commit that marks one of these regions; the next one when none does. */
  private nextCommitFor(first: number, last: number): Promise<Errno> {
    for (let region = first; region <= last; region++) {
      const marking = this.marking.get(region);
      if (marking) return marking;
    }
    return this.nextCommit();
  }

  /** The commit that carries the marks wanted by now; it begins when the one before it is through. */
  private nextCommit(): Promise<Errno> {
    this.nextMarks ??= this.enqueue(async () => {
      let marks: readonly number[] = [];
      try {
        const renewal = await this.options.lease.renew().finally(() => {
          this.nextMarks = undefined;
          marks = [...this.wanted];
          this.wanted.clear();
        });
        const excess = this.active.size + marks.length - this.options.maxActiveRegions;
        const cooling = excess > 0 ? this.leastRecentlyWritten(excess) : [];
        const errno = await this.commit(marks, cooling, renewal.changes);
        if (errno === OK) renewal.granted();
        return errno;
      } finally {
        // Also when there was no commit: else whoever wants such a mark would get the old answer for ever.
        for (const region of marks) this.marking.delete(region);
      }
    });
    return this.nextMarks;
  }

  /** What `run` throws is a bug: nothing in the store is believed then, and whoever waits gets an error. */
  private enqueue(run: () => Promise<Errno> | Errno): Promise<Errno> {
    const done = this.queue.then(run).catch((bug: unknown) => {
      this.settled(false);
      this.options.onBug(bug);
      return EIO;
    });
    this.queue = done;
    return done;
  }

  /** Without the regions that changes wait for: else two that need more than there may be would take turns for ever. */
  private coolable(): number[] {
    return [...this.active.keys()].filter((region) => !this.awaited.has(region));
  }

  private awaitRegions(first: number, last: number, more: 1 | -1): void {
    for (let region = first; region <= last; region++) {
      const waiting = (this.awaited.get(region) ?? 0) + more;
      if (waiting > 0) this.awaited.set(region, waiting);
      else this.awaited.delete(region);
    }
  }

  private leastRecentlyWritten(count: number): number[] {
    const regions = this.coolable();
    if (regions.length <= count) return regions;
    // To sort the regions themselves takes ten times as long.
    const turns = Uint32Array.from(regions, (region) => this.lastWritten[region]!).sort();
    const latest = turns[count - 1]!;
    const earlier = regions.filter((region) => this.lastWritten[region]! < latest);
    const equal = regions.filter((region) => this.lastWritten[region] === latest);
    return [...earlier, ...equal.slice(0, count - earlier.length)];
  }

  /** Marks some regions, cools others and saves what has changed of the bitmaps. */
  private async commit(
    marks: readonly number[],
    cooling: readonly number[],
    more: readonly Change[] = [],
  ): Promise<Errno> {
    // From here on these regions count as cold. Should the commit fail, nothing is believed anyway.
    for (const region of cooling) {
      this.states[region] = COLD;
      this.active.delete(region);
    }
    const saving = joined(
      [this.changes(), this.coolings(cooling)],
      [...marks.map((region) => this.mark(region)), ...more],
    );
    const began = performance.now();
    for await (const part of partsOf(saving)) {
      const failure = await failureOf(this.options.store.commit(part));
      if (failure === OK) continue;
      this.settled(false);
      return failure;
    }
    this.lookAhead.noteCommit(performance.now() - began);
    this.settled(true);
    for (const region of marks) this.activate(region);
    return OK;
  }

  private coolings(regions: readonly number[]): Saving {
    const { exportName, stored } = this.options;
    const marks = regions.map((region) => ({ key: regionKey(exportName, region), value: undefined }));
    return { pages: stored.pagesOf(this.rangesOf(regions)), rest: marks };
  }

  private rangesOf(regions: Iterable<number>): ByteRange[] {
    const { regionBytes } = this.options;
    return [...regions].map((region) => {
      const offset = region * regionBytes;
      return { offset, length: Math.min(regionBytes, this.diskBytes - offset) };
    });
  }

  private everything(): Saving {
    const { exportName, store, stored, describeDisk } = this.options;
    const staleMarks = [...store.keys(allRegions(exportName))].map((key) => ({ key, value: undefined }));
    const stale = [...staleMarks, ...stored.staleStates()];
    const { pages, rest } = stored.changes();
    const marks = [...this.active.keys()].map((region) => this.mark(region));
    return { pages, rest: [describeDisk(), ...stale, ...rest, ...marks] };
  }

  private mark(region: number): Change {
    return { key: regionKey(this.options.exportName, region), value: MARK };
  }

  private activate(region: number): void {
    if (this.states[region] === COLD) this.states[region] = MARKED;
    this.lastWritten[region] = this.clock;
    this.active.set(region, 0);
  }
}

function failureOf(commit: Promise<void>): Promise<Errno> {
  return commit.then(
    () => OK,
    (error: unknown) => errnoOf(error),
  );
}
