/** What this server itself changes of a disk, so that it can tell when somebody else does. */
export class WriteActivity {
  /** Changes that were asked for and have not ended, those included that still wait to be recorded. */
  pending = 0;
  /** Changes that have ended, in success or failure. */
  count = 0;
  /** By the wall clock, which file systems use as well; in milliseconds since 1970. */
  lastEndedAt = 0;

  /** On the path of every write. Kernels take the time of a write when it begins, so it is never later than this. */
  ended(): void {
    this.count++;
    this.lastEndedAt = Date.now();
  }
}
