import { setTimeout as delay } from 'node:timers/promises';

/** A seed for each iteration, so that it can be repeated alone. */
export function seedOf(seed: number, target: string, iteration: number): number {
  let mixed = (seed ^ Math.imul(iteration + 1, 0x9e3779b1)) >>> 0;
  for (const letter of target) mixed = Math.imul(mixed ^ letter.codePointAt(0)!, 0x01000193) >>> 0;
  return mixed;
}

/** Rejects if the work does not finish in time. */
export async function within<Result>(seconds: number, work: Promise<Result>): Promise<Result> {
  const cancel = new AbortController();
  const tooLate = delay(seconds * 1000, undefined, { signal: cancel.signal }).then(() => {
    throw new Error(`a connection is stuck: the iteration did not end within ${seconds} s`);
  });
  tooLate.catch(() => {});
  try {
    return await Promise.race([work, tooLate]);
  } finally {
    cancel.abort();
  }
}
