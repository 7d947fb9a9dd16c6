import type { Random } from '../support/random.js';

/** One part of the program under test, with its own messages. */
export interface Target<Plan = unknown> {
  readonly name: string;
  /** Whether it tests code in this process instead of the server. */
  readonly isLocal?: boolean;
  /** What one iteration does. It depends only on `random`, so that the same seed gives the same messages. */
  plan(random: Random): Plan;
  /** Carries out the plan. Resolves to the number of messages, and rejects if an answer is wrong. */
  run(plan: Plan): Promise<number>;
  /** Checks what can only be checked between iterations. */
  settle?(): Promise<void>;
}

/** An answer that no correct program gives. */
export class WrongAnswer extends Error {
  override readonly name = 'WrongAnswer';
}

/** @throws WrongAnswer */
export function expectThat(holds: boolean, what: () => string): asserts holds {
  if (!holds) throw new WrongAnswer(what());
}
