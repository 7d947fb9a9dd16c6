import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';

function listOf(limit: number, runs: [number, number][]) {
  const list = new ExtentList(limit);
  const added = runs.map(([length, status]) => list.add(length, status));
  return { list, added };
}

test('equal neighbours are one extent', () => {
  const { list } = listOf(10, [
    [5, 1],
    [7, 1],
    [3, 0],
  ]);
  expect(list.lengths).toEqual([12, 3]);
  expect(list.statuses).toEqual([1, 0]);
  expect(list.totalBytes).toBe(15);
});

test('at its limit it refuses another extent, but not more of the last', () => {
  const { list, added } = listOf(1, [
    [5, 1],
    [3, 0],
    [2, 1],
  ]);
  expect(added).toEqual([true, false, true]);
  expect(list.lengths).toEqual([7]);
});

test('it is trimmed in the middle of an extent, and by whole ones', () => {
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
