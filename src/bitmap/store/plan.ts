import type { Change, KeyValueStore } from './key-value-store.js';
import { joined, partsOf, type Saving } from './saving.js';

/** What a save will store, and what follows from how that ends. */
export interface Plan extends Saving {
  /** Call when all of it is durable. */
  readonly accept: () => void;
  /** Call when it is not known how much of it is durable. */
  readonly reject: () => void;
}

/** Stores the plans and more changes together, and settles the plans. Returns the error if that fails; never throws. */
export async function carryOut(
  store: KeyValueStore,
  plans: readonly Plan[],
  more: readonly Change[] = [],
): Promise<Error | undefined> {
  try {
    for await (const part of partsOf(joined(plans, more))) await store.commit(part);
    for (const { accept } of plans) accept();
    return undefined;
  } catch (error) {
    for (const { reject } of plans) reject();
    return error as Error;
  }
}
