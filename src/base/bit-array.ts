import { assert } from './assert.js';
import { countAllOnes, countOnes, countOnesWithin } from './count-ones.js';
import { IndexSet, lowestBit } from './index-set.js';
import { runToEnd } from './steps.js';

const WORD_BITS = 32;
const WORD_BYTES = 4;
const ALL_ONES = 0xffffffff;

/** Words that share an entry in the index: 2^6. They are searched one by one, in some tens of nanoseconds. */
const BLOCK_SHIFT = 6;
const BLOCK_WORDS = 2 ** BLOCK_SHIFT;

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

const NO_WORDS = new Uint32Array(0);
const NO_BLOCKS = new IndexSet(0);

/**
 * An array of bits that knows how many are set and finds the next set or clear bit in a few steps. Two index sets hold
 * the blocks of words that have a set bit and those that have a clear bit. While no bit is set, there are no words and
 * no index. All ranges are half-open, [from, end).
 */
export class BitArray {
  private words = NO_WORDS;
  private blocksWithSet = NO_BLOCKS;
  private blocksWithClear = NO_BLOCKS;
  private setBits = 0;

  constructor(readonly length: number) {
    assert(length > 0 && length <= MAX_BITS, 'a bit array has a length that it can hold');
  }

  /** How many bits are set. */
  get count(): number {
    return this.setBits;
  }

  /** Sets the range; true if any bit in it was clear. Nearly free if the range lies in one word and is already set. */
  setRange(from: number, end: number): boolean {
    assert(from >= 0 && from < end && end <= this.length, 'the range lies inside the bits');
    this.allocate();
    const first = from >>> 5;
    const last = (end - 1) >>> 5;
    const head = (ALL_ONES << (from & 31)) >>> 0;
    const tail = ALL_ONES >>> (31 - ((end - 1) & 31));
    if (first === last) return this.setInWord(first, head & tail);
    const before = this.setBits;
    this.setInWord(first, head);
    this.fillWords(first + 1, last);
    this.setInWord(last, tail);
    return this.setBits > before;
  }

  /** The first set bit in the range, or -1. */
  nextSet(from: number, end: number): number {
    if (from >= end || this.setBits === 0) return -1;
    const start = from >>> 5;
    const rest = this.words[start]! & (ALL_ONES << (from & 31));
    if (rest !== 0) return inside(start * WORD_BITS + lowestBit(rest), end);
    const word = this.wordWithSet(start + 1, wordsFor(end));
    return word < 0 ? -1 : inside(word * WORD_BITS + lowestBit(this.words[word]!), end);
  }

  /** The first clear bit in the range, or -1. */
  nextClear(from: number, end: number): number {
    if (from >= end) return -1;
    if (this.setBits === 0) return from;
    const start = from >>> 5;
    const rest = ~this.words[start]! & (ALL_ONES << (from & 31));
    if (rest !== 0) return inside(start * WORD_BITS + lowestBit(rest), end);
    const word = this.wordWithClear(start + 1, wordsFor(end));
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

  /** How many bits of the range are set. */
  countWithin(from: number, end: number): number {
    return this.setBits === 0 ? 0 : countOnesWithin(this.words, from, end);
  }

  /** A copy, made in steps of about a millisecond. The bits must not change until the last step is done. */
  *copying(): Generator<void, BitArray> {
    const copy = new BitArray(this.length);
    if (this.setBits === 0) return copy;
    copy.allocate();
    yield;
    for (let at = 0; at < this.words.length; at += COPIED_WORDS) {
      copy.words.set(this.words.subarray(at, at + COPIED_WORDS), at);
      yield;
    }
    copy.blocksWithSet.copyFrom(this.blocksWithSet);
    copy.blocksWithClear.copyFrom(this.blocksWithClear);
    copy.setBits = this.setBits;
    return copy;
  }

  /** Sets every bit that is set in `other`, an array of the same length, in steps of about a millisecond. */
  *adding(other: BitArray): Generator<void, void> {
    assert(other.length === this.length, 'the arrays have the same length');
    if (other.setBits === 0) return;
    this.allocate();
    let steps = 0;
    for (let block = other.blocksWithSet.next(0); block >= 0; block = other.blocksWithSet.next(block + 1)) {
      const first = block * BLOCK_WORDS;
      const end = this.endOfBlock(block);
      for (let word = first; word < end; word++) this.setBits += this.addToWord(word, other.words[word]!);
      this.reindex(block);
      steps += BLOCK_WORDS;
      if (steps % ADDED_WORDS === 0) yield;
    }
  }

  /** How many bits are set in both arrays, which have the same length. The cost grows with the blocks set in `other`. */
  countCommon(other: BitArray): number {
    let count = 0;
    if (this.setBits === 0) return count;
    for (let block = other.blocksWithSet.next(0); block >= 0; block = other.blocksWithSet.next(block + 1)) {
      const end = this.endOfBlock(block);
      for (let word = block * BLOCK_WORDS; word < end; word++) {
        count += countOnes(this.words[word]! & other.words[word]!);
      }
    }
    return count;
  }

  /** The same bits in an array of another length: extra bits are clear, and bits beyond the end are dropped. */
  resized(length: number): BitArray {
    if (length === this.length) return runToEnd(this.copying());
    const copy = new BitArray(length);
    if (this.setBits === 0) return copy;
    copy.allocate();
    copy.words.set(this.words.subarray(0, copy.words.length));
    const last = copy.words.length - 1;
    copy.words[last] = copy.words[last]! & (ALL_ONES >>> (31 - ((length - 1) & 31)));
    copy.setBits = countAllOnes(copy.words);
    copy.reindexWords(0, copy.words.length);
    return copy;
  }

  get pageCount(): number {
    return Math.ceil(this.length / PAGE_BITS);
  }

  /** A copy of a page, little-endian, without trailing zeroes; undefined if no bit in it is set. */
  page(index: number): Buffer | undefined {
    if (!this.hasWordWithSet(index)) return undefined;
    const words = this.words.subarray(index * PAGE_WORDS, (index + 1) * PAGE_WORDS);
    let used = words.length;
    while (words[used - 1] === 0) used--;
    return Buffer.from(Buffer.from(words.buffer, words.byteOffset, used * WORD_BYTES));
  }

  /** Sets the bits of a page that `page` returned. No bit of that page may be set yet. */
  loadPage(index: number, page: Buffer): void {
    assert(!this.hasWordWithSet(index), 'the page is new');
    this.allocate();
    const first = index * PAGE_WORDS;
    const loaded = this.words.subarray(first, first + Math.min(page.length, PAGE_BYTES) / WORD_BYTES);
    // Every machine that tidemark runs on is little-endian; s390x is the only one that Node supports and tidemark does
    // not.
    page.copy(new Uint8Array(loaded.buffer, loaded.byteOffset, loaded.byteLength));
    this.setBits += countAllOnes(loaded);
    this.reindexWords(first, first + loaded.length);
  }

  private allocate(): void {
    if (this.words.length > 0) return;
    this.words = new Uint32Array(wordsFor(this.length));
    const blocks = Math.ceil(this.words.length / BLOCK_WORDS);
    this.blocksWithSet = new IndexSet(blocks);
    this.blocksWithClear = new IndexSet(blocks);
    this.blocksWithClear.addAll();
  }

  private hasWordWithSet(page: number): boolean {
    if (this.setBits === 0) return false;
    return this.wordWithSet(page * PAGE_WORDS, Math.min((page + 1) * PAGE_WORDS, this.words.length)) >= 0;
  }

  /** The first word from `from` and before `end` that has a set bit, or -1. */
  private wordWithSet(from: number, end: number): number {
    const { words } = this;
    const near = Math.min(startOfBlockAfter(from), end);
    let word = from;
    for (; word < near; word++) if (words[word] !== 0) return word;
    if (word >= end) return -1;
    const block = this.blocksWithSet.next(word >>> BLOCK_SHIFT);
    if (block < 0) return -1;
    for (word = block * BLOCK_WORDS; word < end; word++) if (words[word] !== 0) return word;
    return -1;
  }

  /** The first word from `from` and before `end` that has a clear bit, or -1. */
  private wordWithClear(from: number, end: number): number {
    const { words } = this;
    const near = Math.min(startOfBlockAfter(from), end);
    let word = from;
    for (; word < near; word++) if (words[word] !== ALL_ONES) return word;
    if (word >= end) return -1;
    const block = this.blocksWithClear.next(word >>> BLOCK_SHIFT);
    if (block < 0) return -1;
    for (word = block * BLOCK_WORDS; word < end; word++) if (words[word] !== ALL_ONES) return word;
    return -1;
  }

  private endOfBlock(block: number): number {
    return Math.min((block + 1) * BLOCK_WORDS, this.words.length);
  }

  private setInWord(word: number, mask: number): boolean {
    const before = this.words[word]!;
    const added = this.addToWord(word, mask);
    if (added === 0) return false;
    this.setBits += added;
    if (before === 0) this.blocksWithSet.add(word >>> BLOCK_SHIFT);
    if (this.words[word] === ALL_ONES) this.reindex(word >>> BLOCK_SHIFT);
    return true;
  }

  /** Sets all bits of the words from `from` and before `end`. */
  private fillWords(from: number, end: number): void {
    for (let word = from; word < end; ) {
      const block = word >>> BLOCK_SHIFT;
      const until = Math.min(this.endOfBlock(block), end);
      for (; word < until; word++) this.setBits += this.addToWord(word, ALL_ONES);
      this.reindex(block);
    }
  }

  /** Returns how many bits it has set. The caller adds them to the count, and updates the index. */
  private addToWord(word: number, mask: number): number {
    const before = this.words[word]!;
    const after = (before | mask) >>> 0;
    if (after === before) return 0;
    this.words[word] = after;
    return countOnes(after ^ before);
  }

  private reindexWords(from: number, end: number): void {
    const last = (end - 1) >>> BLOCK_SHIFT;
    for (let block = from >>> BLOCK_SHIFT; block <= last; block++) this.reindex(block);
  }

  /** Updates the index sets for a block in which bits were set. */
  private reindex(block: number): void {
    const end = this.endOfBlock(block);
    let some = 0;
    let all = -1;
    // Most blocks that are not all alike show that by their first words.
    for (let word = block * BLOCK_WORDS; word < end && (some === 0 || all === -1); word++) {
      const bits = this.words[word]! | 0;
      some |= bits;
      all &= bits;
    }
    if (some !== 0) this.blocksWithSet.add(block);
    if (all === -1) this.blocksWithClear.remove(block);
  }
}

function wordsFor(bits: number): number {
  return Math.ceil(bits / WORD_BITS);
}

/** `word` itself if it is the first of its block. */
function startOfBlockAfter(word: number): number {
  return Math.ceil(word / BLOCK_WORDS) * BLOCK_WORDS;
}

function inside(bit: number, end: number): number {
  return bit < end ? bit : -1;
}

/** What a search found, or `end` if it found nothing. */
export function orEnd(found: number, end: number): number {
  return found < 0 ? end : found;
}
