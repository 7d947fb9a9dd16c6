import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { propertyRuns } from '../support/property.js';

function listOf(limit: number, runs: [number, number][]) {
  const list = new ExtentList(limit);
  const added = runs.map(([length, status]) => list.add(length, status));
  return { list, added };
}

test('equal neighbours are merged', () => {
  const { list } = listOf(10, [
    [5, 1],
    [7, 1],
    [3, 0],
  ]);
  expect(list.lengths).toEqual([12, 3]);
  expect(list.statuses).toEqual([1, 0]);
  expect(list.totalBytes).toBe(15);
});

test('a full list refuses another extent, but can extend the last one', () => {
  const { list, added } = listOf(1, [
    [5, 1],
    [3, 0],
    [2, 1],
  ]);
  expect(added).toEqual([true, false, true]);
  expect(list.lengths).toEqual([7]);
});

test('trimming shortens an extent or removes whole ones', () => {
  const { list } = listOf(10, [
    [10, 1],
    [10, 0],
    [10, 1],
  ]);
  list.trimTo(25);
  expect(list.lengths).toEqual([10, 10, 5]);
  list.trimTo(10);
  expect(list.lengths).toEqual([10]);
  expect(list.totalBytes).toBe(10);
});

test('the limit on runs holds even if they merge into one extent', () => {
  const list = new ExtentList(10, 2);
  expect([list.add(1, 1), list.add(1, 1), list.add(1, 1), list.totalBytes]).toEqual([true, true, false, 2]);
});

test('the status of a block combines the statuses of its bytes', () => {
  const blockBytes = 8;
  const run = fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 0, max: 3 }));
  fc.assert(
    fc.property(
      fc.array(run, { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 0, max: 40 }),
      fc.integer({ min: 1, max: 6 }),
      (runs, offset, unknown, limit) => {
        const { list } = listOf(100, runs);
        const end = offset + list.totalBytes + unknown;
        const blocks = list.inBlocks({ offset, end, blockBytes, limit, combine: (a, b) => a | b });
        const bytes = bytesOf(list);
        // If the list ends before `end`, its last block may be covered only in part.
        const known = unknown === 0 ? end : Math.floor((offset + list.totalBytes) / blockBytes) * blockBytes;
        const expected = new ExtentList(limit);
        for (let from = offset; from < known; ) {
          const to = Math.min((Math.floor(from / blockBytes) + 1) * blockBytes, known);
          const status = bytes.slice(from - offset, to - offset).reduce((a, b) => a | b);
          if (!expected.add(to - from, status)) break;
          from = to;
        }
        expect([blocks.lengths, blocks.statuses]).toEqual([expected.lengths, expected.statuses]);
      },
    ),
    propertyRuns(500),
  );
});

function bytesOf(list: ExtentList): number[] {
  return list.lengths.flatMap((length, i) => Array.from({ length }, () => list.statuses[i]!));
}
