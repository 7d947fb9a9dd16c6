import { expect, test } from 'vitest';
import { runToEnd } from '../../../src/base/steps.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { chooseMarks } from '../../../src/bitmap/store/mark-choice.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';
import { RegionTable } from '../../../src/bitmap/store/region-table.js';

const REGIONS = 100;
const MAX_WHOLE = 2;

function piece(index = 0): RegionMark {
  const mark = RegionMark.empty(MIB, 64 * KIB);
  mark.name(index * 64 * KIB, index * 64 * KIB + 1);
  return mark;
}

/** A table in which these regions are marked whole, and how pieces of these other regions are chosen. */
function scene(whole: readonly number[], exact: readonly number[] = []) {
  const table = new RegionTable(REGIONS * MIB, MIB);
  for (const region of whole) {
    table.mark(region, RegionMark.whole(MIB));
    table.enter(region);
  }
  for (const region of exact) table.mark(region, piece());
  const choose = (regions: readonly number[], inWhole: boolean) => {
    const wanted = new Map(regions.map((region) => [region, piece(1)]));
    const { marks, cooling } = chooseMarks(table, wanted, MAX_WHOLE, inWhole);
    return { marks: [...marks].map(([region, mark]) => `${region} ${mark.isWhole ? 'whole' : 'pieces'}`), cooling };
  };
  const tick = () => runToEnd(table.ticking(() => 0));
  return { table, choose, tick };
}

test('pieces are named together with those that were named before', () => {
  const { table } = scene([], [3]);
  const { marks } = chooseMarks(table, new Map([[3, piece(1)]]), MAX_WHOLE, false);
  expect([...marks.get(3)!.ranges()]).toEqual([{ offset: 0, length: 128 * KIB }]);
});

test('a region that is marked whole already gets no mark', () => {
  expect(scene([3]).choose([3, 4], false)).toEqual({ marks: ['4 pieces'], cooling: [] });
});

test('regions become whole as far as there is room for whole regions', () => {
  expect(scene([1], [3]).choose([3, 4], true)).toEqual({ marks: ['3 whole', '4 pieces'], cooling: [] });
});

test('whole regions that are calm cool for others, but no region for itself', () => {
  const { choose, tick } = scene([1, 2], [3]);
  tick();
  expect(choose([3, 4, 5], true)).toEqual({ marks: ['3 pieces', '4 pieces', '5 pieces'], cooling: [] });
  tick();
  expect(choose([3, 4, 5], true)).toEqual({ marks: ['3 whole', '4 whole', '5 pieces'], cooling: [1, 2] });
});

test('what was asked for whole is marked whole, and the calmest regions cool for it', () => {
  const { table } = scene([1, 2]);
  const { marks, cooling } = chooseMarks(table, new Map([[7, RegionMark.whole(MIB)]]), MAX_WHOLE, false);
  expect([marks.get(7)!.isWhole, cooling]).toEqual([true, [1]]);
});

test('sixteen times as many regions may have pieces named; then the oldest cool', () => {
  const exact = Array.from({ length: 33 }, (_, index) => index + 10);
  const { choose } = scene([1], exact);
  expect(choose([50], false)).toEqual({ marks: ['50 pieces'], cooling: [10] });
  expect(choose([10, 50, 51], false)).toEqual({ marks: ['10 pieces', '50 pieces', '51 pieces'], cooling: [11, 12] });
});
