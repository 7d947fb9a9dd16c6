import type { Parameters } from 'fast-check';
import { testSeed } from './random.js';

/** How often a property is tried, and with which seed. */
export function propertyRuns(numRuns: number): Parameters<unknown> {
  return { numRuns, seed: testSeed() };
}
