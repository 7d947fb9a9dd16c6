/** A call that took longer than this, and than the size of its data excuses, has waited for something. */
const SLOW_MS = 5;
/** Copying data costs time without any waiting; this is below what memory gives on any machine of today. */
const COPY_BYTES_PER_MS = 1024 * 1024;
const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1280;
/** Slow calls are too frequent when they take more than this part of the time. */
const TOLERABLE_PART = 1 / 20;

/**
 * Decides whether a kind of system call is quick enough to be made on the event loop, where a slow one stops everybody.
 *
 * They are, until one is slow. Then there is a pause, in which the calls belong in the thread pool; each slow one there
 * prolongs it. Afterwards they are tried again: if one is slow too soon, the next pause is twice as long.
 *
 * A busy machine that takes the processor away makes a quick call look slow. So the first pause is short.
 */
export class Pace {
  private pausedUntilMs = Number.NEGATIVE_INFINITY;
  private pauseMs = 0;

  /** `nowMs` need not be precise nor monotonic: it is asked twice a call, so it had better be cheap. */
  constructor(readonly nowMs: () => number = Date.now) {}

  /** Whether a call that would start at `startMs` may run on the event loop. */
  allowsNow(startMs: number): boolean {
    const leftMs = this.pausedUntilMs - startMs;
    // More than the longest pause is left only where the clock was set back.
    return leftMs <= 0 || leftMs > LONGEST_PAUSE_MS;
  }

  /** Reports a call on the event loop. */
  tookNow(startMs: number, bytes: number): void {
    const endMs = this.nowMs();
    const tookMs = endMs - startMs;
    if (!isSlow(tookMs, bytes)) return;
    const tooSoon = tookMs > TOLERABLE_PART * (endMs - this.pausedUntilMs);
    this.pauseMs = tooSoon ? Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS) : SHORTEST_PAUSE_MS;
    this.pausedUntilMs = endMs + this.pauseMs;
  }

  /** Reports a call in the thread pool. */
  tookLater(startMs: number, bytes: number): void {
    const endMs = this.nowMs();
    if (!this.allowsNow(startMs) && isSlow(endMs - startMs, bytes)) {
      this.pausedUntilMs = endMs + this.pauseMs;
    }
  }
}

function isSlow(tookMs: number, bytes: number): boolean {
  return tookMs > SLOW_MS + bytes / COPY_BYTES_PER_MS;
}
