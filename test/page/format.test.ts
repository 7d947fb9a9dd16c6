import { expect, test } from 'vitest';
import { formatLatency, formatPerSecond, formatRate, formatShare, formatSpan } from '../../src/page/format.js';

test.each([
  [0, '0 s'],
  [-5000, '0 s'],
  [59_400, '59 s'],
  [65_000, '1 min 5 s'],
  [120_000, '2 min'],
  [3_599_000, '59 min'],
  [7_500_000, '2 h 5 min'],
  [3 * 24 * 3_600_000, '3 days'],
])('%i ms is %s', (milliseconds, text) => {
  expect(formatSpan(milliseconds)).toBe(text);
});

test.each([
  [0, 100, '0 %'],
  [0, 0, '0 %'],
  [1, 10_000, '< 0.1 %'],
  [5, 1000, '0.5 %'],
  [50, 100, '50 %'],
  [100, 100, '100 %'],
])('%i of %i is %s', (part, whole, text) => {
  expect(formatShare(part, whole)).toBe(text);
});

test('rates have units', () => {
  expect([formatRate(1536.2), formatRate(0)]).toEqual(['1.5 KiB/s', '0 B/s']);
  expect([formatPerSecond(9999.4), formatPerSecond(123_456), formatPerSecond(1_500_000)]).toEqual([
    '9999/s',
    '123.5 k/s',
    '1.5 M/s',
  ]);
});

test.each([
  [0, '0 µs'],
  [0.0000854, '85 µs'],
  [0.00123, '1.2 ms'],
  [0.0456, '46 ms'],
  [2.5, '2.5 s'],
])('%d s of a request is %s', (seconds, text) => {
  expect(formatLatency(seconds)).toBe(text);
});
