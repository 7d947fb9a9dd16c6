import type { ExplainedWrites } from './explained-writes.js';

/** The changes that this server makes to a disk, so that changes by other programs can be told apart. */
export class WriteActivity {
  /** Changes in progress, including those still waiting to be recorded. */
  pending = 0;
  /** Changes that have finished, successfully or not. */
  count = 0;
  /** Wall-clock time, which file systems use too, in milliseconds since 1970. */
  lastEndedAt = 0;
  /** Set for a block device while it is written. */
  explained: ExplainedWrites | undefined;

  /** Called for every write. The kernel timestamps a write when it begins, so never later than `lastEndedAt`. */
  ended(): void {
    this.count++;
    this.lastEndedAt = Date.now();
  }
}
