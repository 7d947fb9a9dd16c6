import { describe, expect, it } from 'vitest';
import { PieceBits } from '../../src/snapshot/piece-bits.js';
import { Random, testSeed } from '../support/random.js';

const CHUNK = 2 ** 16;

/** Bits kept the simple way. */
class PlainBits {
  readonly bits: Uint8Array;

  constructor(length: number) {
    this.bits = new Uint8Array(length);
  }

  next(value: number, from: number, end: number): number {
    const found = this.bits.subarray(0, end).indexOf(value, from);
    return from < end ? found : -1;
  }

  clear(from: number, end: number): number {
    const cleared = this.bits.subarray(from, end).reduce((sum, bit) => sum + bit, 0);
    this.bits.fill(0, from, end);
    return cleared;
  }
}

describe('piece bits', () => {
  it('do what a plain array of bits does', () => {
    const random = new Random(testSeed());
    for (let round = 0; round < 20; round++) {
      const length = random.pick([1, 31, 32, 1000, CHUNK, CHUNK + 1, 3 * CHUNK - 40, 4 * CHUNK]);
      const bits = new PieceBits(length);
      const plain = new PlainBits(length);
      for (let step = 0; step < 200; step++) {
        const from = random.pick([random.below(length), Math.floor(random.below(length) / CHUNK) * CHUNK]);
        const most = Math.min(length - from, random.pick([1, 40, 5000, CHUNK, length]));
        const end = from + (random.chance(2) ? most : random.below(most + 1));
        if (random.chance(3)) {
          expect(bits.clearRange(from, end)).toBe(plain.clear(from, end));
        } else {
          bits.setRange(from, end);
          plain.bits.fill(1, from, end);
        }
        const at = random.below(length);
        const stop = at + random.below(length - at + 1);
        expect(bits.has(at)).toBe(plain.bits[at] === 1);
        expect(bits.nextSet(at, stop)).toBe(plain.next(1, at, stop));
        expect(bits.nextClear(at, stop)).toBe(plain.next(0, at, stop));
        expect(bits.nextSet(0, length)).toBe(plain.next(1, 0, length));
        expect(bits.nextClear(0, length)).toBe(plain.next(0, 0, length));
      }
    }
  });

  it('refuse a range outside of the disk', () => {
    const bits = new PieceBits(100);
    expect(() => bits.setRange(90, 101)).toThrow('inside');
    expect(() => bits.clearRange(-1, 3)).toThrow('inside');
  });

  it('of a disk of 16 TiB take memory only where some are set and others are not', () => {
    const length = 2 ** 32;
    const bits = new PieceBits(length);
    const before = process.memoryUsage().arrayBuffers;
    const grown = () => process.memoryUsage().arrayBuffers - before;
    bits.setRange(5, length - 5);
    expect(grown()).toBeLessThan(64 * 1024);
    expect([bits.nextClear(5, length), bits.nextClear(5, length - 5), bits.nextSet(0, 5)]).toEqual([
      length - 5,
      -1,
      -1,
    ]);
    expect(bits.clearRange(0, length)).toBe(length - 10);
    expect(bits.nextSet(0, length)).toBe(-1);
    for (let at = 0; at < length; at += length / 64) bits.setRange(at, at + 1);
    expect(grown()).toBeLessThan(64 * 10 * 1024);
  });
});
