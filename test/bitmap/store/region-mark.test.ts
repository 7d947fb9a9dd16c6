import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../../src/base/units.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';

const REGION_BYTES = 16 * MIB;
const GRANULE_BYTES = 64 * KIB;

const empty = (granularityBytes = GRANULE_BYTES) => RegionMark.empty(REGION_BYTES, granularityBytes);
const parts = (mark: RegionMark) => [...mark.ranges()].map(({ offset, length }) => [offset, length]);
const decode = (...bytes: number[]) => RegionMark.decode(Buffer.from(bytes), REGION_BYTES);

test('a mark names the pieces that a range touches, and covers what lies in them', () => {
  const mark = empty();
  expect(parts(mark)).toEqual([]);
  mark.name(GRANULE_BYTES - 1, GRANULE_BYTES + 1);
  mark.name(8 * GRANULE_BYTES, 9 * GRANULE_BYTES);
  expect(parts(mark)).toEqual([
    [0, 2 * GRANULE_BYTES],
    [8 * GRANULE_BYTES, GRANULE_BYTES],
  ]);
  expect(mark.covers(0, 2 * GRANULE_BYTES)).toBe(true);
  expect(mark.covers(0, 2 * GRANULE_BYTES + 1)).toBe(false);
  expect(mark.covers(8 * GRANULE_BYTES - 1, 9 * GRANULE_BYTES)).toBe(false);
  expect(mark.isWhole).toBe(false);
});

test('a mark that names all of the region is whole', () => {
  const mark = empty();
  mark.name(0, REGION_BYTES);
  expect(mark.isWhole).toBe(true);
  expect(parts(mark)).toEqual([[0, REGION_BYTES]]);
  expect(mark.covers(0, REGION_BYTES)).toBe(true);
  expect(mark.encode()).toEqual(Buffer.from([1]));
});

test('the last piece ends with the region, whatever its size', () => {
  const mark = RegionMark.empty(3 * 64 * KIB, 128 * KIB);
  mark.name(150 * KIB, 151 * KIB);
  expect(parts(mark)).toEqual([[128 * KIB, 64 * KIB]]);
});

test('two marks of pieces of different sizes are joined without losing any', () => {
  const fine = empty(4 * KIB);
  fine.name(0, 1);
  const coarse = empty(64 * KIB);
  coarse.name(100 * KIB, 101 * KIB);
  expect(parts(fine.with(coarse))).toEqual([
    [0, 4 * KIB],
    [64 * KIB, 64 * KIB],
  ]);
  expect(parts(coarse.with(fine))).toEqual([[0, 128 * KIB]]);
  expect(fine.with(RegionMark.whole(REGION_BYTES)).isWhole).toBe(true);
  expect(RegionMark.whole(REGION_BYTES).with(fine).isWhole).toBe(true);
  // Neither has changed.
  expect([parts(fine), parts(coarse)]).toEqual([[[0, 4 * KIB]], [[64 * KIB, 64 * KIB]]]);
});

describe('the value in the store', () => {
  test.each([512, 4 * KIB, 64 * KIB, 8 * MIB])('is read as it was written, with granules of %i bytes', (bytes) => {
    const mark = empty(bytes);
    mark.name(5 * MIB, 6 * MIB);
    mark.name(REGION_BYTES - 1, REGION_BYTES);
    const value = mark.encode();
    expect(value.length).toBeLessThanOrEqual(514);
    expect(parts(RegionMark.decode(value, REGION_BYTES))).toEqual(parts(mark));
  });

  test('of a whole region is that of earlier versions', () => {
    expect(RegionMark.whole(REGION_BYTES).encode()).toEqual(Buffer.from([1]));
    expect(decode(1).isWhole).toBe(true);
  });

  test('has a bit for each piece, the lowest first, after the size of a piece', () => {
    const mark = RegionMark.empty(MIB, 64 * KIB);
    mark.name(64 * KIB, 65 * KIB);
    mark.name(MIB - 1, MIB);
    expect(mark.encode()).toEqual(Buffer.from([2, 16, 0b10, 0b1000_0000]));
  });

  test('that cannot be read names the whole region', () => {
    const pieces = new Array<number>(32).fill(0);
    expect(decode(2, 16, ...pieces).isWhole).toBe(false);
    for (const mark of [
      decode(),
      decode(2),
      decode(2, 16),
      decode(2, 16, ...pieces.slice(1)),
      decode(2, 16, ...pieces, 0),
      decode(2, 15, ...pieces),
      decode(2, 24, 0),
      decode(2, 255, 0),
      decode(2, 0, ...pieces),
      decode(3, 16, ...pieces),
      RegionMark.decode(undefined, REGION_BYTES),
    ]) {
      expect(mark.isWhole).toBe(true);
    }
  });
});

test('a granule that is as large as the region makes every mark whole', () => {
  expect(empty(REGION_BYTES).isWhole).toBe(true);
});
