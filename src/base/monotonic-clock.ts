/** What CLOCK_MONOTONIC showed when `performance.now()` of this thread was 0. */
const THREAD_ORIGIN_MILLISECONDS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** A time of this thread's `performance.now()` as milliseconds on a clock that all threads share and nobody can set. */
export function onSharedClock(milliseconds: number): number {
  return THREAD_ORIGIN_MILLISECONDS + milliseconds;
}
