/** A limit on the bytes of old data, shared by several snapshots. */
export class ScratchBudget {
  private usedBytes = 0;

  /** Infinity means no limit. */
  constructor(readonly limitBytes: number) {}

  allows(bytes: number): boolean {
    return this.usedBytes + bytes <= this.limitBytes;
  }

  /** False, with nothing taken, if that would exceed the limit. */
  take(bytes: number): boolean {
    if (!this.allows(bytes)) return false;
    this.usedBytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.usedBytes -= bytes;
  }
}
