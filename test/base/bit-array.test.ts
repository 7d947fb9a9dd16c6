import fc from 'fast-check';
import { expect, test } from 'vitest';
import { BitArray, PAGE_BITS } from '../../src/base/bit-array.js';
import { runToEnd } from '../../src/base/steps.js';
import { MIB } from '../../src/base/units.js';
import { propertyRuns } from '../support/property.js';

/** A simple model of the array, written without regard for speed. */
function nextOf(model: boolean[], wanted: boolean, from: number, end: number): number {
  const found = model.slice(0, end).indexOf(wanted, from);
  return from < end ? found : -1;
}

const rangeIn = (length: number) =>
  fc
    .tuple(fc.nat(length - 1), fc.nat(length - 1))
    .map(([a, b]): [number, number] => [Math.min(a, b), Math.max(a, b) + 1]);

const cases = fc.integer({ min: 1, max: 5000 }).chain((length) =>
  fc.record({
    length: fc.constant(length),
    sets: fc.array(rangeIn(length), { maxLength: 12 }),
    looks: fc.array(rangeIn(length), { minLength: 1, maxLength: 12 }),
  }),
);

test('it agrees with an array of booleans', () => {
  fc.assert(
    fc.property(cases, ({ length, sets, looks }) => {
      const bits = new BitArray(length);
      const model = new Array<boolean>(length).fill(false);
      for (const [from, end] of sets) {
        expect(bits.setRange(from, end)).toBe(model.slice(from, end).includes(false));
        model.fill(true, from, end);
      }
      expect(bits.count).toBe(model.filter(Boolean).length);
      for (const [from, end] of looks) {
        expect(bits.nextSet(from, end)).toBe(nextOf(model, true, from, end));
        expect(bits.nextClear(from, end)).toBe(nextOf(model, false, from, end));
        expect(bits.countWithin(from, end)).toBe(model.slice(from, end).filter(Boolean).length);
      }
    }),
    propertyRuns(1500),
  );
});

test('runs cover exactly the set bits, and survive resizing', () => {
  fc.assert(
    fc.property(cases, fc.integer({ min: 1, max: 6000 }), ({ length, sets }, newLength) => {
      const bits = new BitArray(length);
      for (const [from, end] of sets) bits.setRange(from, end);
      const copy = bits.resized(newLength);
      const kept = Math.min(length, newLength);
      const runs: number[][] = [];
      bits.eachRun(0, kept, (from, end) => runs.push([from, end]));
      const copied: number[][] = [];
      copy.eachRun(0, newLength, (from, end) => copied.push([from, end]));
      expect(copied).toEqual(runs);
      expect(copy.count).toBe(runs.reduce((sum, [from, end]) => sum + end! - from!, 0));
    }),
    propertyRuns(300),
  );
});

test('a single set or clear bit among 2^28 is found', () => {
  const length = 2 ** 28;
  const lonely = 200_000_123;
  const sparse = new BitArray(length);
  sparse.setRange(lonely, lonely + 1);
  expect(sparse.nextSet(0, length)).toBe(lonely);
  expect(sparse.nextSet(lonely + 1, length)).toBe(-1);
  expect(sparse.nextClear(lonely, length)).toBe(lonely + 1);

  const dense = new BitArray(length);
  dense.setRange(0, lonely);
  dense.setRange(lonely + 1, length);
  expect(dense.nextClear(0, length)).toBe(lonely);
  expect(dense.nextClear(lonely + 1, length)).toBe(-1);
  expect(dense.count).toBe(length - 1);
});

test('bits above 2^31 work', () => {
  const bits = new BitArray(2 ** 32);
  const high = 2 ** 32 - 3;
  bits.setRange(high, high + 2);
  expect(bits.nextSet(0, 2 ** 32)).toBe(high);
  expect(bits.nextClear(high, 2 ** 32)).toBe(2 ** 32 - 1);
  expect(bits.nextSet(0, high)).toBe(-1);
});

/** Lengths of alternating set and clear runs. Long ones fill words and groups of words. */
const runs = fc.array(fc.oneof(fc.nat(100), fc.nat(50_000)), { minLength: 1, maxLength: 30 });

test('an array that loads the pages of another equals it', () => {
  fc.assert(
    fc.property(runs, fc.integer({ min: 1, max: 3 * PAGE_BITS }), (lengths, length) => {
      const bits = new BitArray(length);
      let from = 0;
      lengths.forEach((run, index) => {
        const end = Math.min(from + run, length);
        if (index % 2 === 0 && end > from) bits.setRange(from, end);
        from = end;
      });
      const loaded = new BitArray(length);
      for (let index = 0; index < bits.pageCount; index++) {
        const page = bits.page(index);
        if (page) loaded.loadPage(index, page);
      }
      expect(loaded.count).toBe(bits.count);
      const runsOf = (array: BitArray) => {
        const found: [number, number][] = [];
        array.eachRun(0, length, (start, end) => found.push([start, end]));
        return found;
      };
      expect(runsOf(loaded)).toEqual(runsOf(bits));
      expect(loaded.setRange(0, length)).toBe(bits.count < length);
      expect([loaded.count, loaded.nextClear(0, length)]).toEqual([length, -1]);
    }),
    propertyRuns(300),
  );
});

test('an array without a set bit takes no memory, nor does a copy of it', () => {
  const { arrayBuffers } = process.memoryUsage();
  const clear = Array.from({ length: 100 }, () => new BitArray(2 ** 28));
  const copies = clear.map((bits) => runToEnd(bits.copying()));
  const resized = clear.map((bits) => bits.resized(2 ** 29));
  const pages = clear.map((bits) => bits.page(0));
  runToEnd(clear[0]!.adding(copies[0]!));
  expect(clear.map((bits) => bits.nextSet(0, 2 ** 28))).toEqual(clear.map(() => -1));
  expect(resized.map((bits) => bits.nextClear(7, 2 ** 29))).toEqual(clear.map(() => 7));
  expect(pages).toEqual(clear.map(() => undefined));
  // Each would have 32 MiB.
  expect(process.memoryUsage().arrayBuffers - arrayBuffers).toBeLessThan(MIB);
});
