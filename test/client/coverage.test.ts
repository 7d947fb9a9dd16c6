import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Coverage } from '../../src/client/coverage.js';
import { propertyRuns } from '../support/property.js';

const SPACE = 64;

const pieces = fc.array(fc.record({ start: fc.nat(SPACE - 1), length: fc.integer({ min: 1, max: 16 }) }), {
  maxLength: 60,
});

test('coverage refuses exactly the pieces that overlap, and knows when everything has arrived', () => {
  fc.assert(
    fc.property(pieces, (added) => {
      const coverage = new Coverage();
      const seen = new Set<number>();
      for (const { start, length } of added) {
        const positions = Array.from({ length }, (_, index) => start + index);
        const overlaps = positions.some((position) => seen.has(position));
        expect(coverage.add(start, start + length)).toBe(overlaps ? 'overlaps' : undefined);
        if (!overlaps) for (const position of positions) seen.add(position);
        for (const end of [1, 8, SPACE]) {
          const complete = seen.size === end && Math.max(...seen) === end - 1;
          expect(coverage.isComplete(end)).toBe(complete);
        }
      }
    }),
    propertyRuns(500),
  );
});

test('a reply whose pieces arrive in order needs no memory, however many there are', () => {
  const coverage = new Coverage();
  for (let at = 0; at < 10_000; at++) expect(coverage.add(at, at + 1)).toBeUndefined();
  expect(coverage.isComplete(10_000)).toBe(true);
});
