import { expect, test } from 'vitest';
import { workBetween } from '../../bench/fixed-work.js';
import { KIB } from '../../src/base/units.js';

test('starting and ending does not count as work', () => {
  const short = { seconds: 0.5, processorSeconds: 0.1, requests: 100 };
  const long = { seconds: 2.5, processorSeconds: 1.1, requests: 100_100 };
  expect(workBetween(short, long, 4 * KIB)).toEqual({
    iops: 50_000,
    bytesPerSecond: 50_000 * 4 * KIB,
    processorMicroseconds: 10,
  });
});

test('work that took no time is no figure', () => {
  const run = { seconds: 0.5, processorSeconds: 0.1, requests: 100 };
  expect(() => workBetween(run, run, 4 * KIB)).toThrow('fio took 0.5 s, and 0.5 s with hardly any requests');
});
