interface Waiting<Change> {
  readonly changes: readonly Change[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Changes of several requests in one commit: the library queues them in one step. */
const SHARED_CHANGES = 2048;

/**
 * Runs one commit at a time. Requests that arrive during a commit share the next one, unless they are large. If the shared commit fails, each
 * request is committed alone, so that no request fails because of another.
 */
export class CommitQueue<Change> {
  private waiting: Waiting<Change>[] = [];
  private busy = false;

  constructor(private readonly carryOut: (changes: readonly Change[]) => Promise<void>) {}

  commit(changes: readonly Change[]): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ changes, resolve, reject });
      if (!this.busy) void this.run();
    });
  }

  private async run(): Promise<void> {
    this.busy = true;
    while (this.waiting.length > 0) {
      const together = this.next();
      if (together.length > 1 && (await this.try(together))) continue;
      for (const one of together) await this.try([one], one.reject);
    }
    this.busy = false;
  }

  private next(): Waiting<Change>[] {
    let count = 0;
    for (let changes = 0; count < this.waiting.length; count++) {
      changes += this.waiting[count]!.changes.length;
      if (changes > SHARED_CHANGES) break;
    }
    return this.waiting.splice(0, Math.max(count, 1));
  }

  private async try(together: readonly Waiting<Change>[], failed?: (error: unknown) => void): Promise<boolean> {
    try {
      await this.carryOut(together.flatMap(({ changes }) => changes));
    } catch (error) {
      failed?.(error);
      return false;
    }
    for (const { resolve } of together) resolve();
    return true;
  }
}
