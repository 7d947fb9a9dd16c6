import type { BitArray } from '../base/bit-array.js';

/** Bytes of a disk that set bits call dirty; the last granule counts as far as the disk goes. */
export function dirtyBytesOf(bits: BitArray, granularityBytes: number, diskBytes: number): number {
  const last = bits.length - 1;
  const missing = bits.nextSet(last, bits.length) < 0 ? 0 : bits.length * granularityBytes - diskBytes;
  return bits.count * granularityBytes - missing;
}

/** The bits that are set in either, of two arrays of one length. */
export function union(one: BitArray, other: BitArray): BitArray {
  const both = one.resized(one.length);
  other.eachRun(0, other.length, (from, end) => both.setRange(from, end));
  return both;
}
