import type { Errno } from '../base/errno.js';

/** Granules [from, end) that are being copied. */
interface Copy {
  readonly from: number;
  readonly end: number;
  /** Settles when the granules are settled, or the copy has failed. */
  readonly done: Promise<Errno>;
}

/** The copies in flight of a snapshot; no granule is in two of them. */
export class Copies {
  private readonly inFlight = new Set<Copy>();

  /** Counts a copy as in flight until it is done, and gives what it gives. */
  async watch(copy: Copy): Promise<Errno> {
    this.inFlight.add(copy);
    try {
      return await copy.done;
    } finally {
      this.inFlight.delete(copy);
    }
  }

  /** The copies that have granules of the range. */
  within(from: number, end: number): Copy[] {
    return [...this.inFlight].filter((copy) => copy.from < end && copy.end > from);
  }

  /** Resolves when those that have granules of the range are done, however they end. */
  async settled(from: number, end: number): Promise<void> {
    await Promise.allSettled(this.within(from, end).map(({ done }) => done));
  }
}
