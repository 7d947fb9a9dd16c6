import type { ByteRange } from './stored-bitmaps.js';

/** A region is cold (no valid mark), marked (durably, but not written yet) or active (marked and written). */
export const COLD = 0;
export const MARKED = 1;
export const ACTIVE = 2;

/** The state of every region of one disk. */
export class RegionTable {
  private states: Uint8Array;
  /** The turn of the cooling clock in which an active region was last written. */
  private lastWritten: Uint32Array;
  /** Regions with a valid mark, and the time of the first write to each, in milliseconds; 0 before that. */
  private readonly active = new Map<number, number>();
  /** How many changes wait for the mark of a region. */
  private readonly awaited = new Map<number, number>();
  private clock = 0;

  constructor(
    private diskBytes: number,
    private readonly regionBytes: number,
  ) {
    const regions = Math.ceil(diskBytes / regionBytes);
    this.states = new Uint8Array(regions);
    this.lastWritten = new Uint32Array(regions);
  }

  /** The number of regions of the disk. */
  get count(): number {
    return this.states.length;
  }

  /** The number of regions with a valid mark. */
  get activeCount(): number {
    return this.active.size;
  }

  activeRegions(): number[] {
    return [...this.active.keys()];
  }

  /** Undefined outside of the disk. */
  stateOf(region: number): number | undefined {
    return this.states[region];
  }

  /** When the region was first written, in milliseconds. */
  enteredAt(region: number): number {
    return this.active.get(region)!;
  }

  /** A write to an active region. */
  touch(region: number): void {
    this.lastWritten[region] = this.clock;
  }

  /** The first write to a marked region. */
  enter(region: number, now: number): void {
    this.states[region] = ACTIVE;
    this.lastWritten[region] = this.clock;
    this.active.set(region, now);
  }

  /** The mark of the region is durable. */
  mark(region: number): void {
    if (this.states[region] === COLD) this.states[region] = MARKED;
    this.lastWritten[region] = this.clock;
    this.active.set(region, 0);
  }

  cool(region: number): void {
    this.states[region] = COLD;
    this.active.delete(region);
  }

  /** One turn of the cooling clock. */
  turn(): void {
    this.clock++;
  }

  /** Regions that may cool and were not written for more than `turns` turns. */
  idleFor(turns: number): number[] {
    return this.coolable().filter((region) => this.clock - this.lastWritten[region]! > turns);
  }

  /** The regions that may cool, at most `count` of them. */
  leastRecentlyWritten(count: number): number[] {
    const byAge = this.coolable().sort((a, b) => this.lastWritten[a]! - this.lastWritten[b]!);
    return byAge.slice(0, count);
  }

  /** Counts the changes that wait for regions `first` to `last`: `more` is 1 when one begins to wait, -1 when it ends. */
  countWaiting(first: number, last: number, more: 1 | -1): void {
    for (let region = first; region <= last; region++) {
      const waiting = (this.awaited.get(region) ?? 0) + more;
      if (waiting > 0) this.awaited.set(region, waiting);
      else this.awaited.delete(region);
    }
  }

  /** Follows the disk to another size. Every region is cold then. */
  resize(diskBytes: number): void {
    const regions = Math.ceil(diskBytes / this.regionBytes);
    this.diskBytes = diskBytes;
    this.states = new Uint8Array(regions);
    this.lastWritten = new Uint32Array(regions);
    this.active.clear();
  }

  /** The first and last region that a range touches. */
  touchedBy(offset: number, length: number): [first: number, last: number] {
    const { regionBytes } = this;
    return [Math.floor(offset / regionBytes), Math.floor((offset + length - 1) / regionBytes)];
  }

  rangesOf(regions: readonly number[]): ByteRange[] {
    const { regionBytes } = this;
    return regions.map((region) => {
      const offset = region * regionBytes;
      return { offset, length: Math.min(regionBytes, this.diskBytes - offset) };
    });
  }

  /**
   * Marked regions except those that changes wait for. Otherwise two changes that together need more regions than are
   * allowed would take each other's marks away forever.
   */
  private coolable(): number[] {
    return this.activeRegions().filter((region) => !this.awaited.has(region));
  }
}
