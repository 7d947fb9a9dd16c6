import { expect, test } from 'vitest';
import { DEFAULT_BOUNDS } from '../../../src/export/accounting/accounting-memory.js';
import { areLatencyBounds, parseLatencyBounds } from '../../../src/export/accounting/latency-bounds.js';

const rising = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

test('bounds are 1 to 24 rising times', () => {
  expect(parseLatencyBounds('50us, 1ms,2s')).toEqual([0.05, 1, 2000]);
  expect(areLatencyBounds(DEFAULT_BOUNDS)).toBe(true);
  expect(areLatencyBounds(rising(24))).toBe(true);
});

test.each([[[]], [rising(25)], [[0, 1]], [[-1, 1]], [[1, 1]], [[2, 1]], [[1, Number.POSITIVE_INFINITY]]])(
  '%j are not bounds',
  (bounds) => {
    expect(areLatencyBounds(bounds)).toBe(false);
  },
);

test.each(['', '1ms,', '1ms,1ms', '2ms,1ms', '0us,1ms', '1ms,soon'])('"%s" are not bounds', (text) => {
  expect(parseLatencyBounds(text)).toBeUndefined();
});
