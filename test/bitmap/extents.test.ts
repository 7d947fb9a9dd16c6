import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { TIB } from '../../src/base/units.js';
import { DirtyBitmap } from '../../src/bitmap/dirty-bitmap.js';
import { propertyRuns } from '../support/property.js';

type Range = readonly [from: number, end: number];

/** Reference implementation: goes from granule to granule over the list of written ranges. */
function modelExtents(written: readonly Range[], granularityBytes: number, [from, end]: Range): [number, number][] {
  const dirty = written.map(
    ([a, b]): Range => [
      Math.floor(a / granularityBytes) * granularityBytes,
      Math.ceil(b / granularityBytes) * granularityBytes,
    ],
  );
  const borders = [from, end, ...dirty.flat()].filter((at) => at >= from && at <= end).sort((a, b) => a - b);
  const extents: [number, number][] = [];
  for (let i = 1; i < borders.length; i++) {
    const [at, next] = [borders[i - 1]!, borders[i]!];
    if (at === next) continue;
    const status = dirty.some(([a, b]) => a <= at && at < b) ? 1 : 0;
    const last = extents.at(-1);
    if (last && last[1] === status) last[0] += next - at;
    else extents.push([next - at, status]);
  }
  return extents;
}

const cases = fc
  .record({
    sizeBytes: fc.oneof(
      fc.integer({ min: 1, max: 4096 }).map((sectors) => sectors * 512),
      fc.integer({ min: 1, max: (64 * TIB) / 512 }).map((sectors) => sectors * 512),
    ),
    granularityShift: fc.integer({ min: 9, max: 31 }),
  })
  .filter(({ sizeBytes, granularityShift }) => sizeBytes / 2 ** granularityShift < 2 ** 24)
  .chain(({ sizeBytes, granularityShift }) => {
    // Short writes near a few places produce neighbours and gaps of one granule. Long writes are rare on real disks.
    const range = fc
      .tuple(fc.nat(sizeBytes - 1), fc.integer({ min: 1, max: Math.min(sizeBytes, 2 ** (granularityShift + 2)) }))
      .map(([from, length]): Range => [from, Math.min(from + length, sizeBytes)]);
    return fc.record({
      sizeBytes: fc.constant(sizeBytes),
      granularityBytes: fc.constant(2 ** granularityShift),
      written: fc.array(range, { maxLength: 10 }),
      afterFreezing: fc.array(range, { maxLength: 5 }),
      asked: fc.oneof(range, fc.constant<Range>([0, sizeBytes])),
    });
  });

test('the extents of a bitmap match a list of the written ranges, frozen or not, up to 64 TiB', () => {
  fc.assert(
    fc.property(cases, ({ sizeBytes, granularityBytes, written, afterFreezing, asked }) => {
      const bitmap = new DirtyBitmap({
        name: 'b',
        diskBytes: sizeBytes,
        granularityBytes,
        enabled: true,
        persistent: false,
      });
      const pairs = (described: Pick<DirtyBitmap, 'extents'>) => {
        const list = new ExtentList(1000);
        described.extents(asked[0], asked[1] - asked[0], list);
        return list.lengths.map((length, i) => [length, list.statuses[i]]);
      };
      const record = ([from, end]: Range) =>
        bitmap
          .recordingBits()!
          .setRange(Math.floor(from / granularityBytes), Math.floor((end - 1) / granularityBytes) + 1);
      written.forEach(record);
      expect(pairs(bitmap)).toEqual(modelExtents(written, granularityBytes, asked));
      const freeze = bitmap.createSuccessor();
      afterFreezing.forEach(record);
      expect(pairs(freeze)).toEqual(modelExtents(written, granularityBytes, asked));
      expect(pairs(bitmap)).toEqual(modelExtents([...written, ...afterFreezing], granularityBytes, asked));
      const dirty = modelExtents([...written, ...afterFreezing], granularityBytes, [0, sizeBytes]);
      expect(bitmap.dirtyBytes).toBe(dirty.reduce((sum, [length, status]) => sum + length * status, 0));
    }),
    propertyRuns(400),
  );
});

test('a full list ends the extents early, and they still begin at the offset', () => {
  const bitmap = new DirtyBitmap({
    name: 'b',
    diskBytes: 10 * 512,
    granularityBytes: 512,
    enabled: true,
    persistent: false,
  });
  for (const granule of [1, 3, 5]) bitmap.recordingBits()!.setRange(granule, granule + 1);
  const list = new ExtentList(2);
  bitmap.extents(100, 4000, list);
  expect(list.lengths).toEqual([412, 512]);
  expect(list.statuses).toEqual([0, 1]);
});
