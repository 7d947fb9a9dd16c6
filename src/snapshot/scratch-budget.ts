/** Bytes of old data that may be kept, by all snapshots that share this. */
export class ScratchBudget {
  private usedBytes = 0;

  /** Infinity: no limit. */
  constructor(readonly limitBytes: number) {}

  /** False, with nothing taken, when there is no room for that. */
  take(bytes: number): boolean {
    if (this.usedBytes + bytes > this.limitBytes) return false;
    this.usedBytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.usedBytes -= bytes;
  }
}
