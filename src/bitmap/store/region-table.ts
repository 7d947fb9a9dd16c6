import type { ByteRange } from './stored-bitmaps.js';

/**
 * The regions of a disk, and which of them are durably marked. Regions that are not marked are cold: their mark is not
 * durable yet, or is being removed, so a write to them must not set a new bit.
 */
export class RegionTable {
  /**
   * The tick of the clock at which each region was last written; negative: the tick at which it was marked, if it was not
   * written since; 0: it is cold.
   */
  private ticks: Int32Array;
  /** The regions that are not cold, in the order in which they were marked, and when each was first written since. */
  private readonly marked = new Map<number, number | undefined>();
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
    const { regionBytes, diskBytes } = this;
    return regions.map((region) => {
      const offset = region * regionBytes;
      return { offset, length: Math.min(regionBytes, diskBytes - offset) };
    });
  }

  isMarked(region: number): boolean {
    return this.ticks[region] !== 0;
  }

  /** Notes a write to a region that was written before. False if it was not written since it was marked, or is cold. */
  touch(region: number): boolean {
    if (this.ticks[region]! <= 0) return false;
    this.ticks[region] = this.clock;
    return true;
  }

  /** Notes the first write to a marked region. */
  enter(region: number, milliseconds: number): void {
    this.ticks[region] = this.clock;
    this.marked.set(region, milliseconds);
  }

  /** When a region was first written after it was marked, in milliseconds; undefined if it was not, or is cold. */
  firstWrittenAt(region: number): number | undefined {
    return this.marked.get(region);
  }

  /** The mark of the region is durable. */
  mark(region: number): void {
    if (this.isMarked(region)) return;
    this.ticks[region] = -this.clock;
    this.marked.set(region, undefined);
  }

  /** The mark of the region no longer counts. */
  cool(region: number): void {
    this.ticks[region] = 0;
    this.marked.delete(region);
  }

  /** Keeps regions from cooling until the returned function is called. */
  keep(first: number, last: number): () => void {
    this.count(first, last, 1);
    return () => this.count(first, last, -1);
  }

  tick(): void {
    this.clock++;
  }

  /** Those that may cool, of the regions not written for more than this many ticks of the clock. */
  unwrittenFor(ticks: number): number[] {
    return this.coolable().filter((region) => this.clock - this.lastTick(region) > ticks);
  }

  /** At most `most` of those that may cool: the regions that were not written for longest. */
  longestUnwritten(most: number): number[] {
    const regions = this.coolable();
    if (regions.length <= most) return regions;
    // To sort the regions themselves takes ten times as long.
    const ticks = Int32Array.from(regions, (region) => this.lastTick(region)).sort();
    const latest = ticks[most - 1]!;
    const earlier = regions.filter((region) => this.lastTick(region) < latest);
    const equal = regions.filter((region) => this.lastTick(region) === latest);
    return [...earlier, ...equal.slice(0, most - earlier.length)];
  }

  /** Follows the disk to another size. All regions are cold then. */
  reset(diskBytes: number): void {
    this.diskBytes = diskBytes;
    this.ticks = new Int32Array(Math.ceil(diskBytes / this.regionBytes));
    this.marked.clear();
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
