import { type Errno, OK } from '../../base/errno.js';

/** Marks that go into one commit. */
class Batch {
  readonly regions = new Set<number>();
  done: Promise<Errno> = Promise.resolve(OK);
}

/** Marks that were asked for and are not durable yet. All that are asked for before a commit begins go into it. */
export class PendingMarks {
  private underWay: Batch | undefined;
  private next: Batch | undefined;

  /** `commit` makes one commit. When it begins, it calls `take` for the regions to mark. */
  constructor(private readonly commit: (take: () => readonly number[]) => Promise<Errno>) {}

  has(region: number): boolean {
    return this.batchOf(region) !== undefined;
  }

  add(region: number): void {
    if (!this.has(region)) this.nextBatch().regions.add(region);
  }

  /** The commit that marks one of these regions; the next one if none does. */
  commitFor(first: number, last: number): Promise<Errno> {
    for (let region = first; region <= last; region++) {
      const batch = this.batchOf(region);
      if (batch) return batch.done;
    }
    return this.nextCommit();
  }

  /** The commit that marks what is asked for until it begins, which is when the one before it is through. */
  nextCommit(): Promise<Errno> {
    return this.nextBatch().done;
  }

  /** Forgets the marks that no commit has taken yet. */
  clear(): void {
    this.next?.regions.clear();
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
        return [...batch.regions];
      });
    } finally {
      if (this.underWay === batch) this.underWay = undefined;
      // It failed before it took the marks.
      if (this.next === batch) this.next = undefined;
    }
  }

  private batchOf(region: number): Batch | undefined {
    return [this.underWay, this.next].find((batch) => batch?.regions.has(region));
  }
}
