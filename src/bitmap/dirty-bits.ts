import type { BitArray } from '../base/bit-array.js';
import { runToEnd } from '../base/steps.js';

/** Bytes of a disk that set bits call dirty; the last granule counts as far as the disk goes. */
export function dirtyBytesOf(bits: BitArray, granularityBytes: number, diskBytes: number): number {
  const missing = isLastSet(bits) ? bits.length * granularityBytes - diskBytes : 0;
  return bits.count * granularityBytes - missing;
}

/** The same of the bits that are set in both of two arrays; quickest when the second has few. */
export function commonBytesOf(one: BitArray, other: BitArray, granularityBytes: number, diskBytes: number): number {
  const missing = isLastSet(one) && isLastSet(other) ? one.length * granularityBytes - diskBytes : 0;
  return one.countCommon(other) * granularityBytes - missing;
}

function isLastSet(bits: BitArray): boolean {
  return bits.nextSet(bits.length - 1, bits.length) >= 0;
}

/** The bits that are set in either, of two arrays of one length. */
export function union(one: BitArray, other: BitArray): BitArray {
  const both = one.resized(one.length);
  runToEnd(both.adding(other));
  return both;
}
