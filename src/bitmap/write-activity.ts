import type { ExplainedWrites } from './explained-writes.js';

/** The writes that other threads make to the same disk. */
export interface WritesElsewhere {
  /** How many are under way. */
  readonly inFlight: number;
  /** How many have ended, successfully or not. */
  readonly finished: number;
  /** As in `WriteActivity`. */
  readonly lastEndedAt: number;
  /** From now on no other thread writes before this server has written something itself. */
  close(): void;
  /** No other thread writes after this time, in milliseconds since 1970. */
  allowUntil(milliseconds: number): void;
}

/** The changes that this server makes to a disk, so that changes by other programs can be told apart. */
export class WriteActivity {
  /** Changes in progress in this thread, including those still waiting to be recorded. */
  pending = 0;
  /** Set for a block device while it is written. */
  explained: ExplainedWrites | undefined;
  private ownCount = 0;
  private ownEndedAt = 0;
  private others: WritesElsewhere | undefined;
  private allowedUntil = Number.POSITIVE_INFINITY;

  /** Called for every write. The kernel timestamps a write when it begins, so never later than `lastEndedAt`. */
  ended(): void {
    this.ownCount++;
    this.ownEndedAt = Date.now();
  }

  /** Counts the writes of other threads too; undefined: there are none any more. */
  include(others: WritesElsewhere | undefined): void {
    this.ownCount = this.count;
    this.ownEndedAt = this.lastEndedAt;
    this.others = others;
    others?.allowUntil(this.allowedUntil);
  }

  /** Changes in progress in all threads. */
  get inFlight(): number {
    return this.pending + (this.others?.inFlight ?? 0);
  }

  /** Changes in all threads that have ended, successfully or not. */
  get count(): number {
    return this.ownCount + (this.others?.finished ?? 0);
  }

  /** Wall-clock time, which file systems use too, in milliseconds since 1970. */
  get lastEndedAt(): number {
    return Math.max(this.ownEndedAt, this.others?.lastEndedAt ?? 0);
  }

  /** Other threads ask before their next write. */
  closeElsewhere(): void {
    this.others?.close();
  }

  allowElsewhereUntil(milliseconds: number): void {
    this.allowedUntil = milliseconds;
    this.others?.allowUntil(milliseconds);
  }
}
