import { giveWay } from './loop-share.js';

/** A computation that yields about once a millisecond, and can go on later. */
export type Steps<Result> = Generator<void, Result>;

/** All of it at once. */
export function runToEnd<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Step by step, so that nobody waits long for the event loop. */
export async function runGivingWay<Result>(steps: Steps<Result>): Promise<Result> {
  for (;;) {
    await giveWay();
    const step = steps.next();
    if (step.done) return step.value;
  }
}
