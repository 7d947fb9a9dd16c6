import type { Parameters } from 'fast-check';

/** How a property runs. fast-check prints the seed of a failure; TIDEMARK_SEED runs it again. */
export function propertyRuns(numRuns: number): Parameters<unknown> {
  const seed = process.env.TIDEMARK_SEED;
  return seed === undefined ? { numRuns } : { numRuns, seed: Number(seed) };
}
