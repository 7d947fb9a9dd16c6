import { expect, test } from 'vitest';
import { type Counted, RateHistory, ratesBetween } from '../../src/page/rates.js';

const client = (id: number, bytes: number): Counted => ({
  id,
  requests: bytes,
  bytesRead: bytes,
  bytesWritten: 2 * bytes,
});

test('rates are what clients did each second between two samples', () => {
  const before = { at: 1000, clients: [client(1, 100), client(2, 50)] };
  const now = { at: 3000, clients: [client(1, 300), client(2, 50)] };
  expect(ratesBetween(before, now)).toEqual({ at: 3, requests: 100, readBytes: 100, writtenBytes: 200 });
});

test('a client that came in between began at 0, and one that left takes nothing away', () => {
  const before = { at: 0, clients: [client(1, 1000)] };
  const now = { at: 1000, clients: [client(2, 30)] };
  expect(ratesBetween(before, now)).toMatchObject({ readBytes: 30, writtenBytes: 60 });
});

test('the history has one point fewer than samples, and at most 300', () => {
  const history = new RateHistory();
  for (let i = 0; i < 400; i++) history.add({ at: 1000 * i, clients: [client(1, 10 * i)] });
  expect(history.points).toHaveLength(300);
  expect(history.points.at(-1)).toMatchObject({ at: 399, readBytes: 10 });
  expect(history.points[0]).toMatchObject({ at: 100 });
});

test('no rate spans an interruption, because the counters may have begun again', () => {
  const history = new RateHistory();
  history.add({ at: 0, clients: [client(1, 1000)] });
  history.interrupt();
  history.add({ at: 5000, clients: [client(1, 2000)] });
  expect(history.points).toEqual([]);
});
