/** A call that took longer than this, plus the time to copy its data, must have waited for something. */
const SLOW_MS = 5;
/** A copying speed that any current machine exceeds. */
const COPY_BYTES_PER_MS = 1024 * 1024;
const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1280;
/** Slow calls are too frequent if they take more than this part of the time. */
const TOLERABLE_PART = 1 / 20;

/**
 * Decides whether a kind of system call is quick enough to run on the event loop, where a slow call blocks everything.
 *
 * Calls run on the event loop until one is slow. A pause follows, during which calls go to the thread pool; each slow
 * call there extends the pause. Then calls are tried on the event loop again. If one is slow too soon, the next pause
 * is twice as long.
 *
 * The first pause is short, because on a busy machine a quick call can look slow.
 */
export class Pace {
  private pausedUntilMs = Number.NEGATIVE_INFINITY;
  private pauseMs = 0;

  /** `nowMs` is called twice for each call, so it should be cheap. It need not be precise or monotonic. */
  constructor(readonly nowMs: () => number = Date.now) {}

  /** Whether a call that starts at `startMs` may run on the event loop. */
  allowsNow(startMs: number): boolean {
    const leftMs = this.pausedUntilMs - startMs;
    // If more than the longest pause is left, the clock was set back.
    return leftMs <= 0 || leftMs > LONGEST_PAUSE_MS;
  }

  /** Records a call on the event loop. */
  tookNow(startMs: number, bytes: number): void {
    const endMs = this.nowMs();
    const tookMs = endMs - startMs;
    if (!isSlow(tookMs, bytes)) return;
    const tooSoon = tookMs > TOLERABLE_PART * (endMs - this.pausedUntilMs);
    this.pauseMs = tooSoon ? Math.min(2 * this.pauseMs, LONGEST_PAUSE_MS) : SHORTEST_PAUSE_MS;
    this.pausedUntilMs = endMs + this.pauseMs;
  }

  /** Records a call in the thread pool. */
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
