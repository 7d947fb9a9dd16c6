import fc from 'fast-check';
import { expect, test } from 'vitest';
import { countAllOnes, countOnes } from '../../src/base/count-ones.js';
import { propertyRuns } from '../support/property.js';

const words = fc.uint32Array({ maxLength: 200 });

test('all bits are counted, whatever was counted before', () => {
  fc.assert(
    fc.property(words, fc.nat(40_000), (some, zeroes) => {
      const all = new Uint32Array(some.length + zeroes);
      all.set(some, zeroes);
      const expected = [...some].reduce((sum, word) => sum + word.toString(2).replaceAll('0', '').length, 0);
      expect(countAllOnes(all)).toBe(expected);
      expect(some.reduce((sum, word) => sum + countOnes(word), 0)).toBe(expected);
    }),
    propertyRuns(300),
  );
  expect(countAllOnes(new Uint32Array(100_001).fill(0xffffffff))).toBe(32 * 100_001);
});
