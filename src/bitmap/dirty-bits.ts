import { type BitArray, orEnd } from '../base/bit-array.js';
import type { ExtentList } from '../base/extents.js';
import { runToEnd, type Steps } from '../base/steps.js';

/** Status of an extent written since the bitmap's base. */
export const DIRTY = 1;

/** Granules that can be marked run by run in about a millisecond when every other one is dirty. */
const MARKED_GRANULES = 2 ** 15;

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

export function markRange(bits: BitArray, granularityBytes: number, offset: number, length: number): void {
  bits.setRange(Math.floor(offset / granularityBytes), Math.floor((offset + length - 1) / granularityBytes) + 1);
}

/** Marks in `target` what is dirty in bits of another granularity, in steps of about a millisecond. */
export function* markingFrom(
  source: { readonly bits: BitArray; readonly granularityBytes: number; readonly diskBytes: number },
  target: BitArray,
  granularityBytes: number,
): Steps<void> {
  const { bits, diskBytes } = source;
  const { length } = bits;
  for (let from = bits.nextSet(0, length); from >= 0; from = bits.nextSet(from, length)) {
    const end = Math.min(from + MARKED_GRANULES, length);
    bits.eachRun(from, end, (first, last) => {
      const offset = first * source.granularityBytes;
      markRange(target, granularityBytes, offset, Math.min(last * source.granularityBytes, diskBytes) - offset);
    });
    yield;
    if (end === length) return;
    from = end;
  }
}

/**
 * Appends the DIRTY and clean extents of the range until `list` is full. A granule is dirty if it is dirty in any of
 * `parts`; a range beyond the end of the disk is dirty.
 */
export function describeBits(
  parts: readonly BitArray[],
  granularityBytes: number,
  diskBytes: number,
  offset: number,
  length: number,
  list: ExtentList,
): void {
  const end = Math.min(offset + length, diskBytes);
  const granules = Math.ceil(end / granularityBytes);
  let at = offset;
  let granule = Math.floor(offset / granularityBytes);
  while (at < end) {
    const dirtyFrom = Math.min(...parts.map((bits) => orEnd(bits.nextSet(granule, granules), granules)));
    const dirtyAt = Math.min(Math.max(dirtyFrom * granularityBytes, at), end);
    if (dirtyAt > at && !list.add(dirtyAt - at, 0)) return;
    at = dirtyAt;
    granule = dirtyFrom;
    // This may add less than the whole dirty run; the list joins equal neighbours.
    const cleanFrom = Math.max(...parts.map((bits) => runEnd(bits, granule, granules)));
    const cleanAt = Math.min(cleanFrom * granularityBytes, end);
    if (cleanAt > at && !list.add(cleanAt - at, DIRTY)) return;
    at = cleanAt;
    granule = cleanFrom;
  }
  if (at < offset + length) list.add(offset + length - at, DIRTY);
}

/** Where the run of set bits at `from` ends; `from` itself when that bit is clear. */
function runEnd(bits: BitArray, from: number, end: number): number {
  return orEnd(bits.nextClear(from, end), end);
}
