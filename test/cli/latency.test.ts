import { expect, test } from 'vitest';
import { formatSeconds, percentile, upperBound } from '../../src/cli/top/latency.js';

const boundsSeconds = [0.001, 0.002, 0.01];

test.each([
  [[0, 0, 0, 0], undefined, undefined],
  [[10, 0, 0, 0], 0.0005, 0.001],
  [[0, 4, 0, 0], 0.0015, 0.002],
  [[1, 1, 2, 0], 0.002, 0.01],
  [[0, 1, 0, 1], 0.002, Number.POSITIVE_INFINITY],
  [[0, 0, 0, 7], 0.01, Number.POSITIVE_INFINITY],
])('half of the requests in %j took %d s at most, and all of them %d s', (counts, half, most) => {
  expect(percentile({ boundsSeconds, counts }, 0.5)).toEqual(half);
  expect(upperBound({ boundsSeconds, counts })).toBe(most);
});

test('a percentile lies in its bin, where its share of the requests ends', () => {
  const latency = { boundsSeconds, counts: [98, 0, 2, 0] };
  expect(percentile(latency, 0.98)).toBeCloseTo(0.001);
  expect(percentile(latency, 0.99)).toBeCloseTo(0.006);
  expect(percentile(latency, 1)).toBeCloseTo(0.01);
});

test.each([
  [undefined, '-'],
  [0, '0 µs'],
  [0.0000521, '52.1 µs'],
  [0.0009994, '999 µs'],
  [0.0009996, '1 ms'],
  [0.00125, '1.25 ms'],
  [0.9996, '1 s'],
  [3.21, '3.21 s'],
  [1234.5, '1235 s'],
])('%s seconds are written %s', (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});
