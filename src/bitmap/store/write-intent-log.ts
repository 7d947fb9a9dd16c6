import { type Errno, errnoOf, OK } from '../../base/errno.js';
import { MIB } from '../../base/units.js';
import type { BitmapSet } from '../bitmap-set.js';
import type { ChangeRecorder } from '../change-recorder.js';
import type { BitmapSaver } from './bitmap-saver.js';
import type { Change, KeyValueStore } from './key-value-store.js';
import { allRegions, regionKey } from './keys.js';

/** A region is cold, without a mark in the store; about to be marked; or active, durably marked. */
const COLD = 0;
const ACTIVE = 1;

/** After a run into a region whose predecessor is active, this many of those to come are marked along with it. */
const REGIONS_AHEAD = 4;

export const DEFAULT_REGION_BYTES = 16 * MIB;

const MARK = Buffer.from([1]);

export interface WriteIntentLogOptions {
  readonly exportName: string;
  readonly diskBytes: number;
  readonly regionBytes: number;
  /** With more active regions than this, those not written for longest cool. A burst may exceed it for a moment. */
  readonly maxActiveRegions: number;
  readonly store: KeyValueStore;
  readonly bitmaps: BitmapSet;
  readonly saver: BitmapSaver;
  /** Told when marks that a change waits for cannot be stored. True when the change may go on without. */
  readonly onLostMarks: (error: Error) => boolean;
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
  private readonly states: Uint8Array;
  /** The turn of the cooling clock in which an active region was last written. */
  private readonly lastWritten: Uint32Array;
  private readonly active = new Set<number>();
  private readonly wanted = new Set<number>();
  /** Settles with the commit that the wanted marks go into. */
  private nextMarks: Promise<Errno> | undefined;
  /** Settles when the last commit asked for is through. There is one at a time, so each is built on what came of the last. */
  private queue: Promise<unknown> = Promise.resolve();
  private clock = 0;
  /** Whether the store holds what its commits said. */
  private believed = true;

  constructor(private readonly options: WriteIntentLogOptions) {
    const regions = Math.ceil(options.diskBytes / options.regionBytes);
    this.states = new Uint8Array(regions);
    this.lastWritten = new Uint32Array(regions);
  }

  get activeRegions(): number {
    return this.active.size;
  }

  recordNow(offset: number, length: number): boolean {
    const { regionBytes, bitmaps } = this.options;
    if (!this.believed && bitmaps.hasPersistentRecording) return false;
    const first = Math.floor(offset / regionBytes);
    const last = Math.floor((offset + length - 1) / regionBytes);
    for (let region = first; region <= last; region++) {
      if (this.states[region] === ACTIVE) this.lastWritten[region] = this.clock;
      else if (!this.isDirtyWithin(region, offset, length)) return false;
    }
    bitmaps.markDirty(offset, length);
    return true;
  }

  async record(offset: number, length: number): Promise<Errno> {
    // The check and the marking are one step: no region cools between them.
    while (!this.recordNow(offset, length)) {
      this.want(offset, length);
      const errno = await this.marksStored();
      if (errno !== OK) return errno;
    }
    return OK;
  }

  /** One turn of the clock: regions that were not written for `turns` of them cool. */
  cool(turns: number): Promise<Errno> {
    this.clock++;
    return this.enqueue(() => {
      const idle = [...this.active].filter((region) => this.clock - this.lastWritten[region]! > turns);
      return idle.length > 0 || !this.believed ? this.commit([], idle) : OK;
    });
  }

  /** Stores everything and takes every mark away. Nothing may be recorded from then on. */
  close(last: readonly Change[]): Promise<Errno> {
    return this.enqueue(() => this.commit([], [...this.active], last));
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

  /** What makes the store say what memory says of the bitmaps themselves. To be committed under `hold`. */
  changes(): Change[] {
    return this.believed ? this.options.saver.changes() : this.everything();
  }

  /** The changes are committed, or it is not known whether they are. */
  settled(committed: boolean): void {
    if (!committed) this.options.saver.forget();
    this.believed = committed;
  }

  private isDirtyWithin(region: number, offset: number, length: number): boolean {
    const { regionBytes, bitmaps } = this.options;
    const from = Math.max(offset, region * regionBytes);
    const end = Math.min(offset + length, (region + 1) * regionBytes);
    return bitmaps.isPersistentlyDirty(from, end - from);
  }

  /** Asks for marks on every region of the range that has none, and on some ahead where the writing is a run. */
  private want(offset: number, length: number): void {
    const { regionBytes } = this.options;
    const first = Math.floor(offset / regionBytes);
    const last = Math.floor((offset + length - 1) / regionBytes);
    const isRun = first > 0 && this.states[first - 1] === ACTIVE;
    const end = Math.min(isRun ? last + 1 + REGIONS_AHEAD : last + 1, this.states.length);
    for (let region = first; region < end; region++) {
      if (this.states[region] === COLD) this.wanted.add(region);
    }
  }

  /** The commit that carries the marks wanted by now; it begins when the one before it is through. */
  private marksStored(): Promise<Errno> {
    this.nextMarks ??= this.enqueue(() => {
      this.nextMarks = undefined;
      const marks = [...this.wanted];
      this.wanted.clear();
      const excess = this.active.size + marks.length - this.options.maxActiveRegions;
      return this.commit(marks, excess > 0 ? this.leastRecentlyWritten(excess) : []);
    });
    return this.nextMarks;
  }

  private enqueue(run: () => Promise<Errno> | Errno): Promise<Errno> {
    const done = this.queue.then(run);
    this.queue = done;
    return done;
  }

  private leastRecentlyWritten(count: number): number[] {
    const byAge = [...this.active].sort((a, b) => this.lastWritten[a]! - this.lastWritten[b]!);
    return byAge.slice(0, count);
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
    const changes = [
      ...this.changes(),
      ...this.coolings(cooling),
      ...marks.map((region) => this.mark(region)),
      ...more,
    ];
    try {
      await this.options.store.commit(changes);
    } catch (error) {
      this.settled(false);
      return marks.length > 0 && this.options.onLostMarks(error as Error) ? OK : errnoOf(error);
    }
    this.settled(true);
    for (const region of marks) this.activate(region);
    return OK;
  }

  private coolings(regions: readonly number[]): Change[] {
    const { exportName, diskBytes, regionBytes, saver } = this.options;
    return regions.flatMap((region) => {
      const offset = region * regionBytes;
      const pages = saver.pagesOf(offset, Math.min(regionBytes, diskBytes - offset));
      return [{ key: regionKey(exportName, region), value: undefined }, ...pages];
    });
  }

  private everything(): Change[] {
    const { exportName, store, saver } = this.options;
    const stale = [...store.entries(allRegions(exportName))].map(({ key }) => ({ key, value: undefined }));
    return [...stale, ...saver.everything(), ...[...this.active].map((region) => this.mark(region))];
  }

  private mark(region: number): Change {
    return { key: regionKey(this.options.exportName, region), value: MARK };
  }

  private activate(region: number): void {
    this.states[region] = ACTIVE;
    this.lastWritten[region] = this.clock;
    this.active.add(region);
  }
}
