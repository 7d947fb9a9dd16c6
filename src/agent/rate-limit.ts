import { setTimeout as delay } from 'node:timers/promises';

/** Limits the average number of bytes per second. Without a rate there is no limit. */
export class RateLimit {
  private freeAt = 0;

  constructor(private readonly bytesPerSecond: number | undefined) {}

  get isUnlimited(): boolean {
    return this.bytesPerSecond === undefined;
  }

  /** Resolves when this many bytes may pass. Rejects when `signal` aborts. */
  async pass(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.bytesPerSecond === undefined) return;
    const now = performance.now();
    const start = Math.max(now, this.freeAt);
    this.freeAt = start + (bytes / this.bytesPerSecond) * 1000;
    if (start > now) await delay(start - now, undefined, { signal });
  }
}
