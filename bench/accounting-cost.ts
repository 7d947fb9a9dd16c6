import { DEFAULT_BOUNDS, newAccountingMemory } from '../src/export/accounting/accounting-memory.js';
import { Command } from '../src/protocol/constants.js';
import { PassClock } from '../src/session/pass-clock.js';
import { Recorder } from '../src/session/recorder.js';
import type { Goal } from './report/goals.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** A first run makes V8 compile it. */
const WARM_UP_PASSES = 200_000;
const RUN_MILLISECONDS = 200;
const CALLS_AT_A_TIME = 1000;

/** How many requests are served in one pass, and what accounting for one of them may take: 2 % of serving it. */
interface PassSize {
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
  const pass = new Pass();
  for (let turn = 0; turn < WARM_UP_PASSES; turn++) {
    pass.accounted(4);
    pass.plain();
  }
  for (let round = 0; round < rounds; round++) {
    for (const { size, nanoseconds } of inTurn(costs, round)) {
      const plain = nanosecondsOf(() => pass.plain());
      const accounted = nanosecondsOf(() => pass.accounted(size.requests));
      const cost = Math.max(0, accounted - plain) / size.requests;
      nanoseconds.push(cost);
      log(`accounting for a request, ${size.requests} in a pass  ${cost.toFixed(0)} ns`);
    }
  }
  return costs;
}

export function accountingSeconds(rounds: number): number {
  return 1 + (2 * rounds * passSizes.length * RUN_MILLISECONDS) / 1000;
}

/** What a link and its transmission call in one pass that has to do with accounting or with the clock. */
class Pass {
  private readonly clock = new PassClock();
  private readonly recorder = new Recorder(newAccountingMemory(DEFAULT_BOUNDS), this.clock);

  /** Busy polling alone, which reads the clock before and after. */
  plain(): void {
    this.clock.exactly();
    this.clock.exactly();
  }

  accounted(requests: number): void {
    const { clock, recorder } = this;
    clock.beginPass();
    clock.now();
    recorder.begin();
    for (let request = 0; request < requests; request++) {
      recorder.servedAtOnce(Command.READ);
      recorder.succeeded(Command.READ, 4096, 4096 * request);
      recorder.accepted();
    }
    recorder.settle();
    clock.now();
    clock.endPass();
  }
}

/** Of one call, in the fastest thousand of them, because other programs interrupt the rest. */
function nanosecondsOf(call: () => void): number {
  const end = performance.now() + RUN_MILLISECONDS;
  let least = Number.POSITIVE_INFINITY;
  while (performance.now() < end) {
    const began = performance.now();
    for (let i = 0; i < CALLS_AT_A_TIME; i++) call();
    least = Math.min(least, performance.now() - began);
  }
  return (least * 1e6) / CALLS_AT_A_TIME;
}
