import type { Steps } from '../../base/steps.js';
import type { RegionMark } from './region-mark.js';
import type { ByteRange } from './stored-bitmaps.js';

/** A region calms down when this part of it, in all bitmaps together, did not become dirty for a while. */
const LEAST_GROWTH = 1 / 16;

/** Regions whose dirty bytes are counted in less than a millisecond with one bitmap of small granules. */
const COUNTED_TOGETHER = 16;

interface Marked {
  mark: RegionMark;
  /** For a region that is marked whole: how much was dirty in it when it was last found to have grown. */
  dirtyBytes: number | undefined;
}

/**
 * The regions of a disk, and what of them is durably named in a mark. Regions that are not marked are cold: their mark
 * is not durable yet, or is being removed, so a write to them must not set a new bit. In a region of which pieces are
 * named, a write must not set a new bit in another piece.
 */
export class RegionTable {
  /**
   * 0: the region is cold. Negative: it was marked at this tick of the clock. Positive: it is marked whole and was
   * written since, and last grew at this tick.
   */
  private ticks: Int32Array;
  /** The regions that are not cold, in the order in which they were marked. */
  private readonly marked = new Map<number, Marked>();
  private whole = 0;
  /** How many of the whole regions did not grow in the last tick of the clock, at most. */
  private calmWhole = 0;
  /** How many changes wait for the mark of a region. */
  private readonly awaited = new Map<number, number>();
  private clock = 1;

  constructor(
    private diskBytes: number,
    readonly regionBytes: number,
  ) {
    this.ticks = new Int32Array(Math.ceil(diskBytes / regionBytes));
  }

  /** How many regions are marked. */
  get size(): number {
    return this.marked.size;
  }

  /** How many of them are marked whole. */
  get wholeSize(): number {
    return this.whole;
  }

  /** How many regions marked whole may cool for others: those that did not grow lately. */
  get calmWholeSize(): number {
    return this.calmWhole;
  }

  /** The last region of the disk. */
  get last(): number {
    return this.ticks.length - 1;
  }

  list(): number[] {
    return [...this.marked.keys()];
  }

  /** The first and the last region that a range touches. */
  regionsOf(offset: number, length: number): [first: number, last: number] {
    const { regionBytes } = this;
    return [Math.floor(offset / regionBytes), Math.floor((offset + length - 1) / regionBytes)];
  }

  rangesOf(regions: readonly number[]): ByteRange[] {
    return regions.map((region) => this.rangeOf(region));
  }

  /** Whether the region is marked whole and was written since. */
  isEntered(region: number): boolean {
    return this.ticks[region]! > 0;
  }

  /** What is named of the region; undefined if it is cold. */
  markOf(region: number): RegionMark | undefined {
    return this.ticks[region] === 0 ? undefined : this.marked.get(region)?.mark;
  }

  /** Notes the first write to a region that is marked whole. */
  enter(region: number): void {
    this.ticks[region] = this.clock;
  }

  /** This mark of the region is durable. */
  mark(region: number, mark: RegionMark): void {
    const before = this.marked.get(region);
    if (before?.mark.isWhole) return;
    if (before) before.mark = mark;
    else this.marked.set(region, { mark, dirtyBytes: undefined });
    if (mark.isWhole) this.whole++;
    if (mark.isWhole || !before) this.ticks[region] = -this.clock;
  }

  /** The mark of the region no longer counts. */
  cool(region: number): void {
    if (this.markOf(region)?.isWhole) {
      this.whole--;
      this.calmWhole = Math.max(this.calmWhole - 1, 0);
    }
    this.ticks[region] = 0;
    this.marked.delete(region);
  }

  /** Keeps regions from cooling until the returned function is called. */
  keep(first: number, last: number): () => void {
    this.count(first, last, 1);
    return () => this.count(first, last, -1);
  }

  /**
   * One tick of the clock, in steps. `dirtyBytesIn` counts what is dirty in a range, in all bitmaps together: what was
   * set in a region, not what was written, is what marks are for.
   */
  *ticking(dirtyBytesIn: (range: ByteRange) => number): Steps<void> {
    let calm = 0;
    for (const [index, region] of this.list().entries()) {
      if (index % COUNTED_TOGETHER === 0) yield;
      const marked = this.marked.get(region);
      if (!marked?.mark.isWhole) continue;
      const dirtyBytes = dirtyBytesIn(this.rangeOf(region));
      // Bitmaps may have been cleared.
      const before = Math.min(marked.dirtyBytes ?? dirtyBytes, dirtyBytes);
      const hasGrown = dirtyBytes - before >= this.regionBytes * LEAST_GROWTH;
      marked.dirtyBytes = hasGrown ? dirtyBytes : before;
      if (hasGrown) this.ticks[region] = this.isEntered(region) ? this.clock : -this.clock;
      else if (this.lastTick(region) < this.clock) calm++;
    }
    this.calmWhole = calm;
    this.clock++;
  }

  /**
   * Those that may cool: whole regions that were written and then have hardly grown for more than `ticks` ticks of the
   * clock, and the others that were marked more than `markedTicks` ago, because to name their next pieces costs a writer
   * nothing more.
   */
  calmFor(ticks: number, markedTicks = ticks): number[] {
    return this.coolable().filter((region) => {
      const most = this.isEntered(region) ? ticks : markedTicks;
      return this.clock - this.lastTick(region) > most;
    });
  }

  /** At most `most` of the regions marked whole that may cool, without `except`: those that have been calm for longest. */
  calmestWhole(most: number, except: ReadonlyMap<number, unknown>): number[] {
    const regions = this.coolable().filter((region) => this.markOf(region)!.isWhole && !except.has(region));
    if (regions.length <= most) return regions;
    // To sort the regions themselves takes ten times as long.
    const ticks = Int32Array.from(regions, (region) => this.lastTick(region)).sort();
    const latest = ticks[most - 1]!;
    const earlier = regions.filter((region) => this.lastTick(region) < latest);
    const equal = regions.filter((region) => this.lastTick(region) === latest);
    return [...earlier, ...equal.slice(0, most - earlier.length)];
  }

  /** At most `most` of the other regions that may cool, without `except`: those that were marked first. */
  oldestExact(most: number, except: ReadonlyMap<number, unknown>): number[] {
    const found: number[] = [];
    for (const [region, { mark }] of this.marked) {
      if (found.length === most) break;
      if (!mark.isWhole && !this.awaited.has(region) && !except.has(region)) found.push(region);
    }
    return found;
  }

  /** Follows the disk to another size. All regions are cold then. */
  reset(diskBytes: number): void {
    this.diskBytes = diskBytes;
    this.ticks = new Int32Array(Math.ceil(diskBytes / this.regionBytes));
    this.marked.clear();
    this.whole = 0;
    this.calmWhole = 0;
  }

  private rangeOf(region: number): ByteRange {
    const offset = region * this.regionBytes;
    return { offset, length: Math.min(this.regionBytes, this.diskBytes - offset) };
  }

  private lastTick(region: number): number {
    return Math.abs(this.ticks[region]!);
  }

  /** If kept regions cooled, two changes that need more regions than may be marked would take turns forever. */
  private coolable(): number[] {
    return this.list().filter((region) => !this.awaited.has(region));
  }

  private count(first: number, last: number, more: 1 | -1): void {
    for (let region = first; region <= last; region++) {
      const waiting = (this.awaited.get(region) ?? 0) + more;
      if (waiting > 0) this.awaited.set(region, waiting);
      else this.awaited.delete(region);
    }
  }
}
