import type { DiskMap } from '../api/disk-map.js';
import { assert } from '../base/assert.js';
import { CodedError } from '../base/coded-error.js';
import { OK } from '../base/errno.js';
import { ExtentList } from '../base/extents.js';
import { BASE_ALLOCATION, DIRTY_BITMAP_PREFIX } from '../base/metadata-contexts.js';
import { DIRTY } from '../bitmap/dirty-bits.js';
import type { Export } from '../export/export.js';
import { ALLOCATION_HOLE } from '../export/metadata-context.js';
import { consistentBitmap } from './bitmap-extents.js';

/** Most slices in an answer. */
export const MAX_SLICES = 2048;
/** A page shows so many unless it says otherwise. */
const USUAL_SLICES = 1024;
/** Smallest slice in bytes. */
export const MIN_SLICE_BYTES = 4096;
/** Most extents that one answer sums up. More at once would block the event loop for other clients. */
const MAX_EXTENTS = 4096;

/** Which part of a disk to describe, in bytes. */
export interface MapWish {
  readonly offset?: number | undefined;
  readonly length?: number | undefined;
  readonly sliceBytes?: number | undefined;
  /** The bitmap whose dirty bytes are wanted. */
  readonly bitmap?: string | undefined;
}

/**
 * Sums up for each slice how much of it is allocated, and how much is dirty. Covers less than what was asked for where that
 * has very many extents. @throws CodedError BAD_REQUEST, BITMAP_NOT_FOUND, BITMAP_INCONSISTENT, IMAGE_UNUSABLE
 */
export async function mapOf(served: Export, wish: MapWish): Promise<DiskMap> {
  const { offset, end, sliceBytes } = rangeOf(served, wish);
  if (wish.bitmap !== undefined) consistentBitmap(served, wish.bitmap);
  const allocation = await extentsOf(served, BASE_ALLOCATION, offset, end);
  const dirty =
    wish.bitmap === undefined
      ? undefined
      : await extentsOf(served, DIRTY_BITMAP_PREFIX + wish.bitmap, offset, offset + allocation.totalBytes);
  const length = dirty?.totalBytes ?? allocation.totalBytes;
  const slices = { offset, length, sliceBytes };
  return {
    ...slices,
    allocatedBytes: sumUp(allocation, slices, (status) => (status & ALLOCATION_HOLE) === 0),
    ...(dirty && { dirtyBytes: sumUp(dirty, slices, (status) => (status & DIRTY) !== 0) }),
    nextOffset: offset + length < end ? offset + length : null,
  };
}

function rangeOf({ sizeBytes }: Export, { offset = 0, length, sliceBytes }: MapWish) {
  if (offset >= sizeBytes) {
    throw new CodedError('BAD_REQUEST', `offset ${offset} is not on the disk, which has ${sizeBytes} bytes`);
  }
  const end = length === undefined ? sizeBytes : Math.min(sizeBytes, offset + length);
  const chosen = sliceBytes ?? usualSliceBytes(end - offset);
  if (chosen % MIN_SLICE_BYTES !== 0) {
    throw new CodedError('BAD_REQUEST', `sliceBytes ${chosen} is not a multiple of ${MIN_SLICE_BYTES}`);
  }
  if (Math.ceil(end / chosen) - Math.floor(offset / chosen) > MAX_SLICES) {
    const hint = 'ask for larger slices, or for less of the disk';
    throw new CodedError('BAD_REQUEST', `that is more than ${MAX_SLICES} slices`, hint);
  }
  return { offset, end, sliceBytes: chosen };
}

function usualSliceBytes(length: number): number {
  let sliceBytes = MIN_SLICE_BYTES;
  while (length / sliceBytes > USUAL_SLICES) sliceBytes *= 2;
  return sliceBytes;
}

async function extentsOf(served: Export, context: string, offset: number, end: number): Promise<ExtentList> {
  const list = new ExtentList(MAX_EXTENTS);
  const errno = await served.context(context)?.status(offset, end - offset, list);
  if (errno !== OK || list.count === 0) {
    throw new CodedError('IMAGE_UNUSABLE', `the disk does not tell its ${context}`, 'the log of the server says why');
  }
  list.trimTo(end - offset);
  return list;
}

interface Slices {
  readonly offset: number;
  readonly length: number;
  readonly sliceBytes: number;
}

/** For each slice, the bytes of the extents that count. */
function sumUp(list: ExtentList, { offset, length, sliceBytes }: Slices, counts: (status: number) => boolean) {
  const first = Math.floor(offset / sliceBytes);
  const sums = new Array<number>(Math.ceil((offset + length) / sliceBytes) - first).fill(0);
  const last = offset + length;
  let at = offset;
  for (let i = 0; i < list.count && at < last; i++) {
    const end = Math.min(at + list.lengths[i]!, last);
    if (counts(list.statuses[i]!)) addTo(sums, { from: at, to: end, sliceBytes, first });
    at = end;
  }
  assert(at === last, 'the extents cover the part');
  return sums;
}

function addTo(sums: number[], range: { from: number; to: number; sliceBytes: number; first: number }): void {
  const { to, sliceBytes, first } = range;
  for (let at = range.from; at < to; ) {
    const slice = Math.floor(at / sliceBytes);
    const end = Math.min((slice + 1) * sliceBytes, to);
    sums[slice - first]! += end - at;
    at = end;
  }
}
