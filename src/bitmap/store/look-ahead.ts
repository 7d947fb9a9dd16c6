/** Marks reach at least so far ahead of a writer, in the time that it takes to get there. */
const LEAST_REACH_MS = 2000;
/** A commit that was asked for waits for the one under way, and disks that were quick become slow: with room for both. */
const REACH_IN_COMMITS = 4;
/** Nobody is quicker; what seems so is no writer that goes from one region to the next. */
const LEAST_REGION_MS = 1;

/**
 * How many regions are marked ahead of a sequential writer: as many as it reaches within two seconds, or in four times
 * what a commit has lately taken. So a quick writer and a slow disk get many, and a slow writer gets few, for whatever is
 * marked counts as dirty after a crash. What was measured is forgotten by halves, once a turn of the cooling clock.
 */
export class LookAhead {
  /** The least time that a writer has lately taken from one region to the next. */
  private regionMs = Number.POSITIVE_INFINITY;
  /** The most that a commit has lately taken. */
  private commitMs = 0;

  constructor(private readonly maxRegions: number) {}

  /** A writer took so long from one region to the next. */
  noteRegion(milliseconds: number): void {
    this.regionMs = Math.min(this.regionMs, Math.max(milliseconds, LEAST_REGION_MS));
  }

  noteCommit(milliseconds: number): void {
    this.commitMs = Math.max(this.commitMs, milliseconds);
  }

  turn(): void {
    this.regionMs *= 2;
    this.commitMs /= 2;
  }

  /** At least 1. */
  get regions(): number {
    const reachMs = Math.max(LEAST_REACH_MS, REACH_IN_COMMITS * this.commitMs);
    return Math.max(1, Math.min(Math.ceil(reachMs / this.regionMs), this.maxRegions));
  }
}
