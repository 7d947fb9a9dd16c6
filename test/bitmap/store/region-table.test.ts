import { expect, test } from 'vitest';
import { runToEnd } from '../../../src/base/steps.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';
import { RegionTable } from '../../../src/bitmap/store/region-table.js';

const REGION_BYTES = MIB;

const whole = () => RegionMark.whole(REGION_BYTES);
function piece(from: number, end = from + 1): RegionMark {
  const mark = RegionMark.empty(REGION_BYTES, 64 * KIB);
  mark.name(from, end);
  return mark;
}

function tableWith(...marked: number[]): RegionTable {
  const table = new RegionTable(9.5 * MIB, REGION_BYTES);
  for (const region of marked) table.mark(region, whole());
  return table;
}

/** `dirty` says how much is dirty in each region. */
function tick(table: RegionTable, dirty: Readonly<Record<number, number>> = {}): void {
  runToEnd(table.ticking(({ offset }) => dirty[offset / REGION_BYTES] ?? 0));
}

test('all regions of a new table are cold', () => {
  const table = tableWith();
  expect(table.last).toBe(9);
  expect(table.list()).toEqual([]);
  for (const region of [0, 9]) expect([table.markOf(region), table.isEntered(region)]).toEqual([undefined, false]);
});

test('a region that is marked whole is entered by its first write', () => {
  const table = tableWith(3);
  expect([table.markOf(3)?.isWhole, table.isEntered(3)]).toEqual([true, false]);
  table.enter(3);
  expect(table.isEntered(3)).toBe(true);
});

test('a region that is marked whole stays so, whatever is marked later', () => {
  const table = tableWith(3);
  table.enter(3);
  table.mark(3, piece(0));
  table.mark(3, whole());
  expect([table.list(), table.markOf(3)?.isWhole, table.isEntered(3)]).toEqual([[3], true, true]);
});

test('pieces of a region are named until it is marked whole', () => {
  const table = tableWith();
  table.mark(3, piece(0));
  expect([table.markOf(3)?.covers(0, 64 * KIB), table.markOf(3)?.covers(0, 65 * KIB)]).toEqual([true, false]);
  expect([table.isEntered(3), table.size, table.wholeSize]).toEqual([false, 1, 0]);
  table.mark(3, whole());
  expect([table.isEntered(3), table.size, table.wholeSize]).toEqual([false, 1, 1]);
  table.cool(3);
  expect([table.size, table.wholeSize]).toEqual([0, 0]);
});

test('regions that cool are forgotten, and the others stay in their order', () => {
  const table = tableWith(5, 1, 8, 2);
  for (const region of [5, 1, 8, 2]) table.enter(region);
  table.cool(5);
  table.cool(8);
  expect([table.size, table.list()]).toEqual([2, [1, 2]]);
  expect([5, 8, 1, 2].map((region) => [table.markOf(region)?.isWhole, table.isEntered(region)])).toEqual([
    [undefined, false],
    [undefined, false],
    [true, true],
    [true, true],
  ]);
  table.mark(5, whole());
  expect([table.isEntered(5), table.list()]).toEqual([false, [1, 2, 5]]);
});

test('a whole region is calm when it hardly grows, written or not; one that was not written yet, by when it was marked', () => {
  const table = tableWith(1, 2, 3);
  table.enter(1);
  table.enter(2);
  tick(table, { 1: 0, 2: 0 });
  tick(table, { 1: 100 * KIB, 2: 60 * KIB });
  table.mark(4, whole());
  expect(table.calmFor(2)).toEqual([]);
  expect(table.calmFor(1)).toEqual([2, 3]);
  expect(table.calmFor(1, 9)).toEqual([2]);
  expect(table.calmFor(0)).toEqual([1, 2, 3]);
  expect(table.calmFor(-1)).toEqual([1, 2, 3, 4]);
  // Little by little it has grown enough.
  tick(table, { 1: 100 * KIB, 2: 80 * KIB });
  expect(table.calmFor(1)).toEqual([1, 3]);
});

test('a region grows again from nothing when its bitmaps were cleared', () => {
  const table = tableWith(1);
  table.enter(1);
  tick(table, { 1: 1000 * KIB });
  tick(table, { 1: 0 });
  tick(table, { 1: 100 * KIB });
  expect(table.calmFor(1)).toEqual([]);
});

test('a region of which pieces are named is calm by when it was first marked', () => {
  const table = tableWith();
  table.mark(1, piece(0));
  tick(table, { 1: 64 * KIB });
  table.mark(1, piece(0, 128 * KIB));
  tick(table, { 1: MIB });
  expect(table.calmFor(1)).toEqual([1]);
});

test('of the whole regions, the calmest come first; of equal ones, those marked first', () => {
  const table = tableWith(4, 1, 2);
  table.mark(5, piece(0));
  tick(table);
  table.mark(7, whole());
  table.enter(1);
  const none = new Map();
  expect(table.calmestWhole(1, none)).toEqual([4]);
  expect(table.calmestWhole(2, none)).toEqual([4, 2]);
  expect(table.calmestWhole(2, new Map([[4, '']]))).toEqual([2, 1]);
  expect(table.calmestWhole(3, none)).toEqual([4, 2, 1]);
  expect(table.calmestWhole(9, none).sort()).toEqual([1, 2, 4, 7]);
});

test('of the others, those that were marked first', () => {
  const table = tableWith(4);
  for (const region of [7, 3, 5]) table.mark(region, piece(0));
  table.mark(7, piece(0, 128 * KIB));
  table.mark(3, whole());
  const none = new Map();
  expect(table.oldestExact(1, none)).toEqual([7]);
  expect(table.oldestExact(9, none)).toEqual([7, 5]);
  expect(table.oldestExact(9, new Map([[7, '']]))).toEqual([5]);
  table.keep(5, 5);
  expect(table.oldestExact(9, none)).toEqual([7]);
});

test('whole regions that did not grow in the last tick may cool for others', () => {
  const table = tableWith(1, 2, 3);
  table.enter(1);
  table.enter(2);
  tick(table);
  expect(table.calmWholeSize).toBe(0);
  tick(table, { 1: 100 * KIB });
  expect(table.calmWholeSize).toBe(2);
  table.cool(2);
  expect(table.calmWholeSize).toBe(1);
});

test('a region that changes wait for does not cool until the last of them has ended', () => {
  const table = tableWith(1, 2, 3);
  tick(table);
  const [first, second] = [table.keep(1, 2), table.keep(2, 3)];
  expect(table.calmFor(0)).toEqual([]);
  first();
  expect(table.calmFor(0)).toEqual([1]);
  expect(table.calmestWhole(3, new Map())).toEqual([1]);
  second();
  expect(table.calmFor(0)).toEqual([1, 2, 3]);
});

test('the last region ends with the disk', () => {
  const table = tableWith();
  expect(table.regionsOf(MIB - 1, 2)).toEqual([0, 1]);
  expect(table.regionsOf(MIB, MIB)).toEqual([1, 1]);
  expect(table.rangesOf([0, 9])).toEqual([
    { offset: 0, length: MIB },
    { offset: 9 * MIB, length: MIB / 2 },
  ]);
});

test('when the disk gets another size, all regions are cold', () => {
  const table = tableWith(1, 9);
  table.reset(20 * MIB);
  expect([table.last, table.size, table.wholeSize, table.markOf(1)]).toEqual([19, 0, 0, undefined]);
  expect(table.rangesOf([9])).toEqual([{ offset: 9 * MIB, length: MIB }]);
});
