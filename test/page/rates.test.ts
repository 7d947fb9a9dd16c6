import { expect, test } from 'vitest';
import type { CommandStatistics } from '../../src/api/statistics.js';
import { latencyBetween, RateHistory, ratesBetween, type Sample } from '../../src/page/rates.js';

const done = (operations: number, more: Partial<CommandStatistics> = {}): CommandStatistics => ({
  ...{ operations, bytes: 100 * operations, failed: 0, invalid: 0, seconds: operations / 1000 },
  ...more,
});

test('rates are what clients did each second between two samples', () => {
  const before = { at: 1000, commands: { read: done(10), write: done(5) } };
  const now = { at: 3000, commands: { read: done(30), write: done(6, { failed: 3, invalid: 2 }), trim: done(4) } };
  expect(ratesBetween(before, now)).toEqual({
    at: 3,
    requests: (20 + 1 + 3 + 2 + 4) / 2,
    readBytes: 1000,
    writtenBytes: 50,
    failed: 3,
    readSeconds: expect.closeTo(0.001),
    writeSeconds: expect.closeTo(0.001 / 4),
    changes: 9 + 4,
  });
});

test('a command that nobody used has no latency', () => {
  const now = { at: 1000, commands: { read: done(1) } };
  expect(ratesBetween({ at: 0, commands: {} }, now)).toMatchObject({ readSeconds: 0.001, writeSeconds: null });
});

test('counters that began at 0 again are no negative rates', () => {
  const rates = ratesBetween({ at: 0, commands: { read: done(1000) } }, { at: 1000, commands: { read: done(3) } });
  expect(rates).toMatchObject({ requests: 0, readBytes: 0, readSeconds: null });
});

const boundsSeconds = [0.001, 0.01, 0.1];
const timed = (...counts: number[]): Sample => ({
  at: 0,
  commands: { read: done(0, { latency: { boundsSeconds, counts } }) },
});

test('a percentile is the upper bound of its bin', () => {
  const before = timed(5, 5, 5, 5);
  expect(latencyBetween(before, timed(104, 6, 5, 5), 'read', 0.5)).toBe(0.001);
  expect(latencyBetween(before, timed(104, 6, 5, 5), 'read', 0.99)).toBe(0.001);
  expect(latencyBetween(before, timed(103, 6, 6, 5), 'read', 0.99)).toBe(0.01);
  expect(latencyBetween(before, timed(5, 5, 5, 6), 'read', 0.99)).toBe(Number.POSITIVE_INFINITY);
});

test('there is no percentile of nothing, nor over a change of the bounds', () => {
  const before = timed(5, 5, 5, 5);
  expect(latencyBetween(before, before, 'read', 0.5)).toBeUndefined();
  expect(latencyBetween(before, timed(0, 0, 9, 9), 'read', 0.5)).toBeUndefined();
  expect(latencyBetween(before, timed(6, 5, 5, 5), 'write', 0.5)).toBeUndefined();
  const others = { at: 0, commands: { read: done(0, { latency: { boundsSeconds: [1], counts: [9, 9] } }) } };
  expect(latencyBetween(before, others, 'read', 0.5)).toBeUndefined();
});

test('the history has one point fewer than samples, and at most 300', () => {
  const history = new RateHistory();
  for (let i = 0; i < 400; i++) history.add({ at: 1000 * i, commands: { read: done(10 * i) } });
  expect(history.points).toHaveLength(300);
  expect(history.points.at(-1)).toMatchObject({ at: 399, readBytes: 1000 });
  expect(history.points[0]).toMatchObject({ at: 100 });
});

test('no rate spans an interruption, because the counters may have begun again', () => {
  const history = new RateHistory();
  history.add({ at: 0, commands: { read: done(1000) } });
  history.interrupt();
  history.add({ at: 5000, commands: { read: done(2000) } });
  expect(history.points).toEqual([]);
});
