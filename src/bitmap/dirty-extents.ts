import type { BitArray } from '../base/bit-array.js';
import type { ExtentList } from '../base/extents.js';

/** Status of an extent written since the bitmap's base. */
export const DIRTY = 1;

/** The disk that the bits describe: its size and the bytes of a granule. */
interface Shape {
  readonly sizeBytes: number;
  readonly granularityBytes: number;
}

/**
 * Appends the DIRTY and clean extents of the union of `parts`, until `list` is full. A range beyond the end of the bits
 * is dirty.
 */
export function appendExtents(
  parts: readonly BitArray[],
  { sizeBytes, granularityBytes }: Shape,
  offset: number,
  length: number,
  list: ExtentList,
): void {
  const end = Math.min(offset + length, sizeBytes);
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

function orEnd(bit: number, end: number): number {
  return bit < 0 ? end : bit;
}
