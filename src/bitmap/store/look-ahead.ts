/** Marks are set at least this far ahead of a writer, measured in the time it takes to get there. */
const LEAST_REACH_MS = 2000;
/** A commit may have to wait for the one before it, and a fast disk may become slow; this leaves room for both. */
const REACH_IN_COMMITS = 4;
/** A shorter time does not come from a sequential writer. */
const LEAST_REGION_MS = 1;

/**
 * How many regions to mark ahead of a sequential writer: as many as it reaches within two seconds, or within four times
 * the recent duration of a commit, whichever is longer. A fast writer or a slow store gets many. A slow writer gets
 * few, because every marked region counts as dirty after a crash. Both measurements decay by half with each tick of the clock.
 */
export class LookAhead {
  /** The shortest recent time that a writer took from one region to the next. */
  private regionMs = Number.POSITIVE_INFINITY;
  /** The longest recent duration of a commit. */
  private commitMs = 0;

  constructor(private readonly maxRegions: number) {}

  /** Notes how long a writer took from one region to the next. */
  noteRegion(milliseconds: number): void {
    this.regionMs = Math.min(this.regionMs, Math.max(milliseconds, LEAST_REGION_MS));
  }

  noteCommit(milliseconds: number): void {
    this.commitMs = Math.max(this.commitMs, milliseconds);
  }

  tick(): void {
    this.regionMs *= 2;
    this.commitMs /= 2;
  }

  /** At least 1. */
  get regions(): number {
    const reachMs = Math.max(LEAST_REACH_MS, REACH_IN_COMMITS * this.commitMs);
    return Math.max(1, Math.min(Math.ceil(reachMs / this.regionMs), this.maxRegions));
  }
}
