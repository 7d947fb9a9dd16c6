import type { BitArray } from '../base/bit-array.js';
import { runToEnd } from '../base/steps.js';

/** Dirty bytes of a disk; the last granule counts only up to the end of the disk. */
export function dirtyBytesOf(bits: BitArray, granularityBytes: number, diskBytes: number): number {
  const missing = isLastSet(bits) ? bits.length * granularityBytes - diskBytes : 0;
  return bits.count * granularityBytes - missing;
}

/** Bytes that are dirty in both arrays. Fastest when the second array has few set bits. */
export function commonBytesOf(one: BitArray, other: BitArray, granularityBytes: number, diskBytes: number): number {
  const missing = isLastSet(one) && isLastSet(other) ? one.length * granularityBytes - diskBytes : 0;
  return one.countCommon(other) * granularityBytes - missing;
}

function isLastSet(bits: BitArray): boolean {
  return bits.nextSet(bits.length - 1, bits.length) >= 0;
}

/** The union of two arrays of the same length. */
export function union(one: BitArray, other: BitArray): BitArray {
  const both = one.resized(one.length);
  runToEnd(both.adding(other));
  return both;
}
