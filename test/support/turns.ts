import koffi from 'koffi';

const CLOCK_THREAD_CPUTIME_ID = 3;
const clockGetTime = koffi.load('libc.so.6').func('int clock_gettime(int clock, _Out_ int64_t *time)');
const time = new BigInt64Array(2);

/**
 * The processor time of this thread: neither other processes nor the compiler and the garbage collector in other threads
 * of this one add to it.
 */
function processorMilliseconds(): number {
  if (clockGetTime(CLOCK_THREAD_CPUTIME_ID, time) !== 0) throw new Error('clock_gettime failed');
  return Number(time[0]) * 1000 + Number(time[1]) / 1e6;
}

/** Resolves to the result of the work, and the processor time of the longest turn of the event loop during it. */
export async function watchTurns<T>(work: () => Promise<T>): Promise<{ result: T; longest: number }> {
  let [longest, last, running] = [0, processorMilliseconds(), true];
  const turn = () => {
    const now = processorMilliseconds();
    longest = Math.max(longest, now - last);
    last = now;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  const result = await work();
  running = false;
  turn();
  return { result, longest };
}
