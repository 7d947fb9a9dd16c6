import { DEFAULT_BOUNDS, newAccountingMemory } from '../src/export/accounting/accounting-memory.js';
import { Command } from '../src/protocol/constants.js';
import { Recorder } from '../src/session/recorder.js';
import type { Goal } from './report/goals.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** A first run makes V8 compile it. */
const WARM_UP_PASSES = 200_000;
const RUN_MILLISECONDS = 200;
const PASSES_AT_A_TIME = 1000;

/** How many requests are served in one pass, and what accounting for one of them may take: 2 % of serving it. */
export interface PassSize {
  readonly requests: number;
  readonly goal: Goal;
}

/** A request that comes alone takes 30 µs of processor time at least, and the fastest one of several 3.4 µs. */
const alone = { atMost: 600, unit: 'ns' };
const amongOthers = { atMost: 68, unit: 'ns' };

const passSizes: readonly PassSize[] = [
  { requests: 1, goal: alone },
  { requests: 4, goal: amongOthers },
  { requests: 8, goal: amongOthers },
  { requests: 32, goal: amongOthers },
];

export interface AccountingCost {
  readonly size: PassSize;
  /** For each request, one a round. */
  readonly nanoseconds: readonly number[];
}

/** How long keeping account of requests that are served at once takes, for each of them. */
export function measureAccountingCost({ options: { rounds }, log }: BenchRun): AccountingCost[] {
  const costs = passSizes.map((size) => ({ size, nanoseconds: [] as number[] }));
  const recorder = new Recorder(newAccountingMemory(DEFAULT_BOUNDS));
  for (let pass = 0; pass < WARM_UP_PASSES; pass++) account(recorder, 4);
  for (let round = 0; round < rounds; round++) {
    for (const { size, nanoseconds } of inTurn(costs, round)) {
      const cost = timeOf(recorder, size.requests);
      nanoseconds.push(cost);
      log(`accounting for a request, ${size.requests} in a pass  ${cost.toFixed(0)} ns`);
    }
  }
  return costs;
}

export function accountingSeconds(rounds: number): number {
  return 1 + (rounds * passSizes.length * RUN_MILLISECONDS) / 1000;
}

function timeOf(recorder: Recorder, requests: number): number {
  const began = performance.now();
  let passes = 0;
  let milliseconds = 0;
  while (milliseconds < RUN_MILLISECONDS) {
    for (let pass = 0; pass < PASSES_AT_A_TIME; pass++) account(recorder, requests);
    passes += PASSES_AT_A_TIME;
    milliseconds = performance.now() - began;
  }
  return (milliseconds * 1e6) / passes / requests;
}

/** What a transmission calls in one pass. */
function account(recorder: Recorder, requests: number): void {
  recorder.begin();
  for (let request = 0; request < requests; request++) {
    recorder.servedAtOnce(Command.READ);
    recorder.succeeded(Command.READ, 4096, 4096 * request);
    recorder.accepted();
  }
  recorder.settle();
}
