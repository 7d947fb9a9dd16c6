import { assert } from './assert.js';
import { countAllOnes, countOnes } from './count-ones.js';
import { IndexSet, lowestBit } from './index-set.js';
import { runToEnd } from './steps.js';

const WORD_BITS = 32;
const WORD_BYTES = 4;
const ALL_ONES = 0xffffffff;

/**
 * Bytes of bits that are stored as one value: about 4 GiB of a disk at a granularity of 64 KiB. They fill two LMDB
 * pages, less the 24-byte header. A few bytes more would take a third page.
 */
export const PAGE_BYTES = 2 * 4096 - 32;
export const PAGE_BITS = PAGE_BYTES * 8;
const PAGE_WORDS = PAGE_BYTES / WORD_BYTES;

/** Words that can be copied, and words that can be merged one by one, in about a millisecond. */
const COPIED_WORDS = 2 ** 18;
const ADDED_WORDS = 2 ** 15;

/** 512 MiB of bits, more than any bitmap may have. */
const MAX_BITS = 2 ** 32;

/**
 * An array of bits that knows how many are set and finds the next set or clear bit in a few steps. Two index sets hold
 * the words that have a set bit and the words that have a clear bit. All ranges are half-open, [from, end).
 */
export class BitArray {
  private readonly words: Uint32Array;
  private readonly wordsWithSet: IndexSet;
  private readonly wordsWithClear: IndexSet;
  private setBits = 0;

  constructor(readonly length: number) {
    assert(length > 0 && length <= MAX_BITS, 'a bit array has a length that it can hold');
    this.words = new Uint32Array(Math.ceil(length / WORD_BITS));
    this.wordsWithSet = new IndexSet(this.words.length);
    this.wordsWithClear = new IndexSet(this.words.length);
    this.wordsWithClear.addAll();
  }

  /** How many bits are set. */
  get count(): number {
    return this.setBits;
  }

  /** Sets the range; true if any bit in it was clear. Nearly free if the range lies in one word and is already set. */
  setRange(from: number, end: number): boolean {
    assert(from >= 0 && from < end && end <= this.length, 'the range lies inside the bits');
    const first = Math.floor(from / WORD_BITS);
    const last = Math.floor((end - 1) / WORD_BITS);
    const head = (ALL_ONES << (from & 31)) >>> 0;
    const tail = ALL_ONES >>> (31 - ((end - 1) & 31));
    if (first === last) return this.setInWord(first, head & tail);
    let changed = this.setInWord(first, head);
    for (let word = first + 1; word < last; word++) changed = this.setInWord(word, ALL_ONES) || changed;
    return this.setInWord(last, tail) || changed;
  }

  /** The first set bit in the range, or -1. */
  nextSet(from: number, end: number): number {
    if (from >= end) return -1;
    const start = Math.floor(from / WORD_BITS);
    const rest = this.words[start]! & (ALL_ONES << (from & 31));
    if (rest !== 0) return inside(start * WORD_BITS + lowestBit(rest), end);
    const word = this.wordsWithSet.next(start + 1);
    return word < 0 ? -1 : inside(word * WORD_BITS + lowestBit(this.words[word]!), end);
  }

  /** The first clear bit in the range, or -1. */
  nextClear(from: number, end: number): number {
    if (from >= end) return -1;
    const start = Math.floor(from / WORD_BITS);
    const rest = ~this.words[start]! & (ALL_ONES << (from & 31));
    if (rest !== 0) return inside(start * WORD_BITS + lowestBit(rest), end);
    const word = this.wordsWithClear.next(start + 1);
    return word < 0 ? -1 : inside(word * WORD_BITS + lowestBit(~this.words[word]!), end);
  }

  /** Calls `visit` with each run of set bits in the range, in order. */
  eachRun(from: number, end: number, visit: (from: number, end: number) => void): void {
    for (let start = this.nextSet(from, end); start >= 0; ) {
      const stop = this.nextClear(start, end);
      visit(start, orEnd(stop, end));
      start = stop < 0 ? -1 : this.nextSet(stop, end);
    }
  }

  /** A copy, made in steps of about a millisecond. The bits must not change until the last step is done. */
  *copying(): Generator<void, BitArray> {
    const copy = new BitArray(this.length);
    yield;
    for (let at = 0; at < this.words.length; at += COPIED_WORDS) {
      copy.words.set(this.words.subarray(at, at + COPIED_WORDS), at);
      yield;
    }
    copy.wordsWithSet.copyFrom(this.wordsWithSet);
    yield;
    copy.wordsWithClear.copyFrom(this.wordsWithClear);
    copy.setBits = this.setBits;
    return copy;
  }

  /** Sets every bit that is set in `other`, an array of the same length, in steps of about a millisecond. */
  *adding(other: BitArray): Generator<void, void> {
    assert(other.length === this.length, 'the arrays have the same length');
    let steps = 0;
    for (let word = other.wordsWithSet.next(0); word >= 0; word = other.wordsWithSet.next(word + 1)) {
      this.setInWord(word, other.words[word]!);
      if (++steps % ADDED_WORDS === 0) yield;
    }
  }

  /** How many bits are set in both arrays, which have the same length. The cost grows with the words set in `other`. */
  countCommon(other: BitArray): number {
    let count = 0;
    for (let word = other.wordsWithSet.next(0); word >= 0; word = other.wordsWithSet.next(word + 1)) {
      count += countOnes(this.words[word]! & other.words[word]!);
    }
    return count;
  }

  /** The same bits in an array of another length: extra bits are clear, and bits beyond the end are dropped. */
  resized(length: number): BitArray {
    if (length === this.length) return runToEnd(this.copying());
    const copy = new BitArray(length);
    copy.words.set(this.words.subarray(0, copy.words.length));
    const last = copy.words.length - 1;
    copy.words[last] = copy.words[last]! & (ALL_ONES >>> (31 - ((length - 1) & 31)));
    copy.setBits = countAllOnes(copy.words);
    copy.index(copy.words, 0);
    return copy;
  }

  get pageCount(): number {
    return Math.ceil(this.length / PAGE_BITS);
  }

  /** A copy of a page, little-endian, without trailing zeroes; undefined if no bit in it is set. */
  page(index: number): Buffer | undefined {
    const first = this.wordsWithSet.next(index * PAGE_WORDS);
    if (first < 0 || first >= (index + 1) * PAGE_WORDS) return undefined;
    const words = this.words.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS);
    let used = words.length;
    while (words[used - 1] === 0) used--;
    return Buffer.from(Buffer.from(words.buffer, words.byteOffset, used * WORD_BYTES));
  }

  /** Sets the bits of a page that `page` returned. No bit of that page may be set yet. */
  loadPage(index: number, page: Buffer): void {
    const first = index * PAGE_WORDS;
    assert(
      this.nextSet(first * WORD_BITS, Math.min(first * WORD_BITS + PAGE_BITS, this.length)) < 0,
      'the page is new',
    );
    const loaded = this.words.subarray(first, first + Math.min(page.length, PAGE_BYTES) / WORD_BYTES);
    // Every machine that tidemark runs on is little-endian; s390x is the only one that Node supports and tidemark does
    // not.
    page.copy(new Uint8Array(loaded.buffer, loaded.byteOffset, loaded.byteLength));
    this.setBits += countAllOnes(loaded);
    this.index(loaded, first);
  }

  /**
   * Updates the index sets for `words`, which were clear before and start at word `first`, one index word at a time.
   */
  private index(words: Uint32Array, first: number): void {
    for (let i = 0; i < words.length; ) {
      const group = (first + i) >>> 5;
      let withSet = 0;
      let withoutClear = 0;
      do {
        const bits = words[i]! | 0;
        const bit = 1 << ((first + i) & 31);
        if (bits !== 0) withSet |= bit;
        if (bits === -1) withoutClear |= bit;
        i++;
      } while (i < words.length && (first + i) >>> 5 === group);
      if (withSet !== 0) this.wordsWithSet.addGroup(group, withSet);
      if (withoutClear !== 0) this.wordsWithClear.removeGroup(group, withoutClear);
    }
  }

  private setInWord(word: number, mask: number): boolean {
    const before = this.words[word]!;
    const after = (before | mask) >>> 0;
    if (after === before) return false;
    this.words[word] = after;
    this.setBits += countOnes(after ^ before);
    if (before === 0) this.wordsWithSet.add(word);
    if (after === ALL_ONES) this.wordsWithClear.remove(word);
    return true;
  }
}

function inside(bit: number, end: number): number {
  return bit < end ? bit : -1;
}

/** What a search found, or `end` if it found nothing. */
export function orEnd(found: number, end: number): number {
  return found < 0 ? end : found;
}
