import { assert } from '../base/assert.js';
import { countOnes } from '../base/count-ones.js';
import { lowestBit } from '../base/index-set.js';
import { maskOf } from '../base/word-mask.js';

const WORD_BITS = 32;
const ALL_ONES = -1;

/** Bits that are allocated together: 256 MiB of a disk in pieces of 4 KiB. */
const CHUNK_BITS = 2 ** 16;
const CHUNK_WORDS = CHUNK_BITS / WORD_BITS;

/** Stands for every chunk of which all bits are set. */
const FULL: Int32Array = new Int32Array(CHUNK_WORDS).fill(ALL_ONES);

/**
 * One bit for each piece of a disk, allocated where some bits are set and others are not. So a disk of 16 TiB of which
 * little was written costs little, and a search skips what is all clear or all set. All ranges are half-open,
 * [from, end).
 */
export class PieceBits {
  /** Undefined where all bits are clear. Reaches to the last chunk that had a bit set. */
  private readonly chunks: (Int32Array | undefined)[] = [];
  /** How many bits of each chunk are set. */
  private readonly counts: number[] = [];

  constructor(private readonly length: number) {}

  has(index: number): boolean {
    const words = this.chunks[Math.floor(index / CHUNK_BITS)];
    if (words === undefined) return false;
    const bit = index % CHUNK_BITS;
    return (words[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  setRange(from: number, end: number): void {
    assert(from >= 0 && end <= this.length, 'the range lies inside the bits');
    for (let at = from; at < end; ) {
      const index = Math.floor(at / CHUNK_BITS);
      const start = index * CHUNK_BITS;
      const stop = Math.min(end - start, CHUNK_BITS);
      this.setInChunk(index, at - start, stop);
      at = start + stop;
    }
  }

  /** Clears the range, and returns how many bits in it were set. */
  clearRange(from: number, end: number): number {
    assert(from >= 0 && end <= this.length, 'the range lies inside the bits');
    let cleared = 0;
    for (let at = from; at < end; ) {
      const index = Math.floor(at / CHUNK_BITS);
      const start = index * CHUNK_BITS;
      const stop = Math.min(end - start, CHUNK_BITS);
      cleared += this.clearInChunk(index, at - start, stop);
      at = start + stop;
    }
    return cleared;
  }

  /** The first set bit in the range, or -1. */
  nextSet(from: number, end: number): number {
    for (let at = from; at < end; ) {
      const index = Math.floor(at / CHUNK_BITS);
      const start = index * CHUNK_BITS;
      const words = this.chunks[index];
      if (words === FULL) return at;
      if (words !== undefined) {
        const found = nextOne(words, at - start, Math.min(end - start, CHUNK_BITS), 0);
        if (found >= 0) return start + found;
      }
      at = start + CHUNK_BITS;
    }
    return -1;
  }

  /** The first clear bit in the range, or -1. */
  nextClear(from: number, end: number): number {
    for (let at = from; at < end; ) {
      const index = Math.floor(at / CHUNK_BITS);
      const start = index * CHUNK_BITS;
      const words = this.chunks[index];
      if (words === undefined) return at;
      if (words !== FULL) {
        const found = nextOne(words, at - start, Math.min(end - start, CHUNK_BITS), ALL_ONES);
        if (found >= 0) return start + found;
      }
      at = start + CHUNK_BITS;
    }
    return -1;
  }

  private setInChunk(index: number, from: number, end: number): void {
    while (this.chunks.length <= index) {
      this.chunks.push(undefined);
      this.counts.push(0);
    }
    const words = this.chunks[index];
    if (words === FULL) return;
    const bits = this.bitsIn(index);
    if (end - from < bits) {
      const partial = words ?? new Int32Array(CHUNK_WORDS);
      this.chunks[index] = partial;
      this.counts[index]! += setBits(partial, from, end);
      if (this.counts[index]! < bits) return;
    }
    this.chunks[index] = FULL;
    this.counts[index] = bits;
  }

  private clearInChunk(index: number, from: number, end: number): number {
    const words = this.chunks[index];
    if (words === undefined) return 0;
    const before = this.counts[index]!;
    if (end - from < this.bitsIn(index)) {
      const partial = words === FULL ? FULL.slice() : words;
      this.chunks[index] = partial;
      this.counts[index]! -= clearBits(partial, from, end);
      if (this.counts[index]! > 0) return before - this.counts[index]!;
    }
    this.chunks[index] = undefined;
    this.counts[index] = 0;
    return before;
  }

  /** The last chunk may be shorter. */
  private bitsIn(index: number): number {
    return Math.min(CHUNK_BITS, this.length - index * CHUNK_BITS);
  }
}

/** Sets the range, which is not empty, and returns how many of its bits were clear. */
function setBits(words: Int32Array, from: number, end: number): number {
  let changed = 0;
  for (let word = from >>> 5; word <= (end - 1) >>> 5; word++) {
    const clear = ~words[word]! & maskOf(word, from, end);
    words[word]! |= clear;
    changed += countOnes(clear);
  }
  return changed;
}

/** Clears the range, which is not empty, and returns how many of its bits were set. */
function clearBits(words: Int32Array, from: number, end: number): number {
  let changed = 0;
  for (let word = from >>> 5; word <= (end - 1) >>> 5; word++) {
    const set = words[word]! & maskOf(word, from, end);
    words[word]! ^= set;
    changed += countOnes(set);
  }
  return changed;
}

/** The first bit in the range, which is not empty, that is 1 after each word was combined (XOR) with `flip`; or -1. */
function nextOne(words: Int32Array, from: number, end: number, flip: number): number {
  let word = from >>> 5;
  let rest = (words[word]! ^ flip) & (ALL_ONES << (from & 31));
  const last = (end - 1) >>> 5;
  while (rest === 0) {
    if (word === last) return -1;
    rest = words[++word]! ^ flip;
  }
  const found = word * WORD_BITS + lowestBit(rest);
  return found < end ? found : -1;
}
