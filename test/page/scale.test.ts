import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GIB, KIB, MIB, TIB } from '../../src/base/units.js';
import { pan, sliceBytesFor, zoom } from '../../src/page/scale.js';

const room = { diskBytes: GIB, mostSlices: 512 };
const whole = { offset: 0, length: GIB };

test.each([
  [1, 512, 4 * KIB],
  [2 * MIB, 512, 4 * KIB],
  [2 * MIB + 1, 512, 8 * KIB],
  [GIB, 512, 2 * MIB],
  [64 * TIB, 1024, 64 * GIB],
])('slices for %i bytes in %i places have %i bytes', (length, most, sliceBytes) => {
  expect(sliceBytesFor(length, most)).toBe(sliceBytes);
});

test('a closer look shows what was in focus', () => {
  expect(zoom(room, whole, 4)).toEqual({ offset: 384 * MIB, length: 256 * MIB });
  expect(zoom(room, whole, 4, 0)).toEqual({ offset: 0, length: 256 * MIB });
  expect(zoom(room, whole, 4, GIB)).toEqual({ offset: 768 * MIB, length: 256 * MIB });
});

test('a look from further away ends with the whole disk', () => {
  const part = zoom(room, whole, 4, 0);
  expect(zoom(room, part, 1 / 4)).toEqual(whole);
  expect(zoom(room, part, 1 / 64)).toEqual(whole);
});

test('the closest look has slices of 4 KiB', () => {
  const part = zoom(room, whole, 1e9, 100 * MIB);
  expect(part.length).toBe(256 * KIB);
  expect(sliceBytesFor(part.length, room.mostSlices)).toBe(4 * KIB);
});

test('moving stops at the ends of the disk', () => {
  const part = { offset: 0, length: 256 * MIB };
  expect(pan(room, part, -0.5)).toEqual(part);
  expect(pan(room, part, 0.5)).toEqual({ offset: 128 * MIB, length: 256 * MIB });
  expect(pan(room, part, 10)).toEqual({ offset: 768 * MIB, length: 256 * MIB });
});

test('whatever one does, the part is on the disk, and in as many slices as there is room for', () => {
  const step = fc.oneof(
    fc.record({ factor: fc.constantFrom(4, 2, 1 / 2, 1 / 4), at: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ share: fc.constantFrom(-0.5, 0.5) }),
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 40 }),
      fc.integer({ min: 1, max: 1024 }),
      fc.array(step),
      (sectors, most, steps) => {
        const diskBytes = 512 * sectors;
        const small = { diskBytes, mostSlices: most };
        let part = { offset: 0, length: diskBytes };
        for (const one of steps) {
          part = 'share' in one ? pan(small, part, one.share) : zoom(small, part, one.factor, one.at * diskBytes);
          expect(part.length).toBeGreaterThan(0);
          expect(part.offset).toBeGreaterThanOrEqual(0);
          expect(part.offset + part.length).toBeLessThanOrEqual(diskBytes);
          const sliceBytes = sliceBytesFor(part.length, most);
          const slices = Math.ceil((part.offset + part.length) / sliceBytes) - Math.floor(part.offset / sliceBytes);
          expect(slices).toBeLessThanOrEqual(most + 1);
        }
      },
    ),
  );
});
