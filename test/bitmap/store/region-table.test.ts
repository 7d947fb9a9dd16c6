import { expect, test } from 'vitest';
import { RegionTable } from '../../../src/bitmap/store/region-table.js';

const REGION_BYTES = 100;

function tableWith(...marked: number[]): RegionTable {
  const table = new RegionTable(950, REGION_BYTES);
  for (const region of marked) table.mark(region);
  return table;
}

test('all regions of a new table are cold', () => {
  const table = tableWith();
  expect(table.last).toBe(9);
  expect(table.list()).toEqual([]);
  for (const region of [0, 9]) expect(table.isMarked(region)).toBe(false);
  expect(table.touch(3)).toBe(false);
});

test('a marked region is touched only after its first write', () => {
  const table = tableWith(3);
  expect([table.isMarked(3), table.touch(3), table.firstWrittenAt(3)]).toEqual([true, false, undefined]);
  table.enter(3, 17.5);
  expect([table.touch(3), table.firstWrittenAt(3)]).toEqual([true, 17.5]);
});

test('a region that is marked twice keeps what is known of it', () => {
  const table = tableWith(3);
  table.enter(3, 17.5);
  table.mark(3);
  expect(table.list()).toEqual([3]);
  expect(table.firstWrittenAt(3)).toBe(17.5);
});

test('regions that cool are forgotten, and the others stay in their order', () => {
  const table = tableWith(5, 1, 8, 2);
  for (const region of [5, 1, 8, 2]) table.enter(region, region);
  table.cool(5);
  table.cool(8);
  expect([table.size, table.list()]).toEqual([2, [1, 2]]);
  expect([5, 8].map((region) => [table.isMarked(region), table.touch(region)])).toEqual([
    [false, false],
    [false, false],
  ]);
  expect([1, 2].map((region) => [table.touch(region), table.firstWrittenAt(region)])).toEqual([
    [true, 1],
    [true, 2],
  ]);
  table.mark(5);
  expect([table.touch(5), table.list()]).toEqual([false, [1, 2, 5]]);
});

test('regions are idle by when they were last written, or else marked', () => {
  const table = tableWith(1, 2);
  table.enter(1, 1);
  table.tick();
  table.touch(1);
  table.tick();
  table.mark(3);
  expect(table.unwrittenFor(2)).toEqual([]);
  expect(table.unwrittenFor(1)).toEqual([2]);
  expect(table.unwrittenFor(0)).toEqual([1, 2]);
  expect(table.unwrittenFor(-1)).toEqual([1, 2, 3]);
});

test('those that were not written for longest come first; of equal ones, those marked first', () => {
  const table = tableWith(4, 1, 2);
  table.tick();
  table.mark(7);
  table.enter(1, 1);
  expect(table.longestUnwritten(1)).toEqual([4]);
  expect(table.longestUnwritten(2)).toEqual([4, 2]);
  expect(table.longestUnwritten(3)).toEqual([4, 2, 1]);
  expect(table.longestUnwritten(9).sort()).toEqual([1, 2, 4, 7]);
});

test('a region that changes wait for does not cool until the last of them has ended', () => {
  const table = tableWith(1, 2, 3);
  table.tick();
  const [first, second] = [table.keep(1, 2), table.keep(2, 3)];
  expect(table.unwrittenFor(0)).toEqual([]);
  first();
  expect(table.unwrittenFor(0)).toEqual([1]);
  expect(table.longestUnwritten(3)).toEqual([1]);
  second();
  expect(table.unwrittenFor(0)).toEqual([1, 2, 3]);
});

test('the last region ends with the disk', () => {
  const table = tableWith();
  expect(table.regionsOf(99, 2)).toEqual([0, 1]);
  expect(table.regionsOf(100, 100)).toEqual([1, 1]);
  expect(table.rangesOf([0, 9])).toEqual([
    { offset: 0, length: 100 },
    { offset: 900, length: 50 },
  ]);
});

test('when the disk gets another size, all regions are cold', () => {
  const table = tableWith(1, 9);
  table.reset(2000);
  expect([table.last, table.size, table.isMarked(1)]).toEqual([19, 0, false]);
  expect(table.rangesOf([9])).toEqual([{ offset: 900, length: 100 }]);
});
