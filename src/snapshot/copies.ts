import type { Errno } from '../base/errno.js';

/** Pieces [from, end) that are being copied. */
interface Copy {
  readonly from: number;
  readonly end: number;
  /** Resolves when the pieces are settled or the copy has failed. */
  readonly done: Promise<Errno>;
}

const NONE: readonly Copy[] = [];

/** The copies of a snapshot that are in flight. They never overlap. */
export class Copies {
  private readonly inFlight = new Set<Copy>();

  /** Counts a copy as in flight until it is done, and returns its result. */
  async watch(copy: Copy): Promise<Errno> {
    this.inFlight.add(copy);
    try {
      return await copy.done;
    } finally {
      this.inFlight.delete(copy);
    }
  }

  /** The copies that overlap the range. */
  within(from: number, end: number): readonly Copy[] {
    if (this.inFlight.size === 0) return NONE;
    return [...this.inFlight].filter((copy) => copy.from < end && copy.end > from);
  }

  /** Resolves when the copies that overlap the range are done, even if they failed. */
  async settled(from: number, end: number): Promise<void> {
    await Promise.allSettled(this.within(from, end).map(({ done }) => done));
  }
}
