import { expect, test } from 'vitest';
import { GIB, MIB } from '../../src/base/units.js';
import { describeProgress, Progress } from '../../src/cli/progress.js';

test('progress shows bytes, rate and time left', () => {
  expect(describeProgress('vm1', GIB, 4 * GIB, 2)).toBe('vm1: 1 GiB of 4 GiB, 25 %, 512 MiB/s, 0:06 left');
  expect(describeProgress('vm1', 10 * MIB, 100 * GIB, 10)).toBe('vm1: 10 MiB of 100 GiB, 0 %, 1 MiB/s, 28:26:30 left');
  expect(describeProgress('vm1', 0, 0, 1)).toContain('100 %');
  expect(describeProgress('vm1', 0, GIB, 0)).toContain('? left');
});

test('a short task writes no progress to a log', () => {
  const written: string[] = [];
  const progress = new Progress({ write: (text) => written.push(text) });
  progress.update('vm1', 0, GIB);
  progress.update('vm1', GIB, GIB);
  progress.clear();
  expect(written).toEqual([]);
});
