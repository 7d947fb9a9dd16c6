import { type Errno, OK } from '../../base/errno.js';
import type { RegionMark } from './region-mark.js';

/** Marks that go into one commit. */
class Batch {
  readonly marks = new Map<number, RegionMark>();
  done: Promise<Errno> = Promise.resolve(OK);

  covers(region: number, from: number, end: number): boolean {
    return this.marks.get(region)?.covers(from, end) ?? false;
  }
}

/**
 * Marks that were asked for and are not durable yet. All that are asked for before a commit begins go into it. Ranges
 * are in bytes from the start of a region, [from, end).
 */
export class PendingMarks {
  private underWay: Batch | undefined;
  private next: Batch | undefined;

  /**
   * `commit` makes one commit. When it begins, it calls `take` for what to name of each region, and may name more of it.
   */
  constructor(
    private readonly commit: (take: () => ReadonlyMap<number, RegionMark>) => Promise<Errno>,
    private readonly emptyMark: () => RegionMark,
  ) {}

  /** Asks for a mark that names this part of the region, unless that was done. */
  add(region: number, from: number, end: number): void {
    if (this.batchOf(region, from, end)) return;
    const { marks } = this.nextBatch();
    const mark = marks.get(region) ?? this.emptyMark();
    mark.name(from, end);
    marks.set(region, mark);
  }

  /** The commit that names this part of the region; undefined if it was not asked for. */
  commitOf(region: number, from: number, end: number): Promise<Errno> | undefined {
    return this.batchOf(region, from, end)?.done;
  }

  /** The commit that marks what is asked for until it begins, which is when the one before it is through. */
  nextCommit(): Promise<Errno> {
    return this.nextBatch().done;
  }

  /** Forgets the marks that no commit has taken yet. */
  clear(): void {
    this.next?.marks.clear();
  }

  private nextBatch(): Batch {
    if (this.next) return this.next;
    const batch = new Batch();
    batch.done = this.commitBatch(batch);
    this.next = batch;
    return batch;
  }

  private async commitBatch(batch: Batch): Promise<Errno> {
    // What is asked for in the same turn goes into this batch too.
    await Promise.resolve();
    try {
      return await this.commit(() => {
        this.underWay = batch;
        this.next = undefined;
        return batch.marks;
      });
    } finally {
      if (this.underWay === batch) this.underWay = undefined;
      // It failed before it took the marks.
      if (this.next === batch) this.next = undefined;
    }
  }

  private batchOf(region: number, from: number, end: number): Batch | undefined {
    return [this.underWay, this.next].find((batch) => batch?.covers(region, from, end));
  }
}
