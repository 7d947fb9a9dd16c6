import { availableParallelism } from 'node:os';

/** A thread counts as busy for so long after it has served a request. */
const BUSY_MILLISECONDS = 5;

/** When each thread of this server last served a request, in memory that they share. */
export type ServedTimes = Float64Array<SharedArrayBuffer>;

export function servedTimesOf(threads: number): ServedTimes {
  return new Float64Array(new SharedArrayBuffer(threads * Float64Array.BYTES_PER_ELEMENT));
}

/**
 * Whether a thread may keep a processor busy while it waits for requests. The clients on this machine need processors
 * too, so threads that are busy together may not poll if they are more than half as many as the processors. On two cores,
 * two threads that poll make large writes of four clients half as fast.
 */
export class BusyThreads {
  constructor(
    private readonly servedAt: ServedTimes,
    /** The place of this thread. */
    private readonly own: number,
    private readonly mostThatPoll = Math.max(1, Math.floor(availableParallelism() / 2)),
  ) {}

  /** This thread has just served a request. Says whether it may poll now. `now`: in nanoseconds of its own clock. */
  mayPollAfterServing(now: number): boolean {
    const { servedAt, own } = this;
    if (servedAt.length <= this.mostThatPoll) return true;
    const milliseconds = performance.timeOrigin + now / 1e6;
    servedAt[own] = milliseconds;
    let busy = 0;
    for (const time of servedAt) if (time > milliseconds - BUSY_MILLISECONDS) busy++;
    return busy <= this.mostThatPoll;
  }
}
