import { assert } from './assert.js';

/** How to divide extents into blocks: the blocks from byte `offset` to byte `end` of the disk. */
export interface Blocks {
  readonly offset: number;
  readonly end: number;
  readonly blockBytes: number;
  /** Maximum number of extents in the result. */
  readonly limit: number;
  /** The status of a block in which both statuses occur. */
  readonly combine: (one: number, other: number) => number;
}

/**
 * Consecutive extents from one starting offset, as block status reports them: lengths in bytes, each with a status.
 * The list itself keeps the protocol's rules, so no producer can break them: lengths are positive, equal neighbours
 * are merged, and at most `limit` extents are held.
 */
export class ExtentList {
  readonly lengths: number[] = [];
  readonly statuses: number[] = [];
  /** Sum of all lengths. */
  totalBytes = 0;

  private runs = 0;

  /** `maxRuns` stops a producer that adds many runs which merge into few extents. */
  constructor(
    readonly limit: number,
    readonly maxRuns = Number.POSITIVE_INFINITY,
  ) {
    assert(limit >= 1 && maxRuns >= 1, 'an extent list holds at least one extent');
  }

  get count(): number {
    return this.lengths.length;
  }

  /**
   * Appends a run. Returns false and appends nothing if the list would exceed `limit` or `maxRuns`; the producer should
   * stop then.
   */
  add(lengthBytes: number, status: number): boolean {
    assert(lengthBytes > 0, 'an extent has a length');
    if (++this.runs > this.maxRuns) return false;
    const last = this.lengths.length - 1;
    if (last >= 0 && this.statuses[last] === status) {
      this.lengths[last]! += lengthBytes;
    } else {
      if (this.lengths.length === this.limit) return false;
      this.lengths.push(lengthBytes);
      this.statuses.push(status);
    }
    this.totalBytes += lengthBytes;
    return true;
  }

  /** Cuts the end off so that the extents cover at most `bytes`. */
  trimTo(bytes: number): void {
    assert(bytes > 0, 'an extent list is not trimmed to nothing');
    while (this.totalBytes > bytes) {
      const last = this.lengths.length - 1;
      const excess = this.totalBytes - bytes;
      const length = this.lengths[last]!;
      if (length > excess) {
        this.lengths[last] = length - excess;
        this.totalBytes = bytes;
      } else {
        this.lengths.pop();
        this.statuses.pop();
        this.totalBytes -= length;
      }
    }
  }

  /** The same extents in whole blocks. A partly covered block is left out, unless it is the last one before `end`. */
  inBlocks({ offset, end, blockBytes, limit, combine }: Blocks): ExtentList {
    const blocks = new ExtentList(limit);
    let from = offset;
    let mixed: number | undefined;
    const addUntil = (to: number, status: number): boolean => {
      const length = to - from;
      if (length <= 0) return true;
      from = to;
      return blocks.add(length, status);
    };
    let at = offset;
    for (let i = 0; i < this.count; i++) {
      const status = this.statuses[i]!;
      at += this.lengths[i]!;
      if (mixed !== undefined) {
        mixed = combine(mixed, status);
        const blockEnd = Math.min((Math.floor(from / blockBytes) + 1) * blockBytes, end);
        if (at < blockEnd) continue;
        if (!addUntil(blockEnd, mixed)) return blocks;
      }
      const wholeEnd = at >= end ? end : Math.floor(at / blockBytes) * blockBytes;
      if (!addUntil(wholeEnd, status)) return blocks;
      mixed = at > from ? status : undefined;
    }
    return blocks;
  }
}

/** Splits a range into parts of at most `most` bytes, in order. */
export function* slicesOf(offset: number, length: number, most: number): Generator<{ offset: number; length: number }> {
  const end = offset + length;
  for (let at = offset; at < end; at += most) yield { offset: at, length: Math.min(most, end - at) };
}
