import { giveWay } from './loop-share.js';

/** A computation that yields about once a millisecond and can be resumed later. */
export type Steps<Result> = Generator<void, Result>;

/** Runs all the steps at once. */
export function runToEnd<Result>(steps: Steps<Result>): Result {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Runs step by step, so that the event loop is never blocked for long. */
export async function runGivingWay<Result>(steps: Steps<Result>): Promise<Result> {
  for (;;) {
    await giveWay();
    const step = steps.next();
    if (step.done) return step.value;
  }
}
