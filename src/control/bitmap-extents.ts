import type { Extents } from '../api/bitmap.js';
import { CodedError } from '../base/coded-error.js';
import { ExtentList } from '../base/extents.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import { DIRTY } from '../bitmap/dirty-bits.js';
import type { Export } from '../export/export.js';

/**
 * Lists at most `limit` extents of the bitmap, beginning at `offset`. @throws CodedError BAD_REQUEST,
 * BITMAP_INCONSISTENT
 */
export function pageOfExtents(served: Export, bitmap: DirtyBitmap, offset: number, limit: number): Extents {
  const { sizeBytes, granularityBytes } = bitmap;
  if (bitmap.inconsistent !== undefined) {
    throw new CodedError(
      'BITMAP_INCONSISTENT',
      `Bitmap '${bitmap.name}' is inconsistent and cannot be used: ${bitmap.inconsistent}`,
      'remove it and add it again; the next backup will be a full one',
    );
  }
  if (offset > sizeBytes)
    throw new CodedError('BAD_REQUEST', `offset ${offset} is past the end of the disk (${sizeBytes} bytes)`);
  const list = new ExtentList(limit);
  if (offset < sizeBytes) bitmap.extents(offset, sizeBytes - offset, list);
  let at = offset;
  const extents = list.lengths.map((length, i) => {
    const extent = { offset: at, length, dirty: (list.statuses[i]! & DIRTY) !== 0 };
    at += length;
    return extent;
  });
  return {
    export: served.name,
    bitmap: bitmap.name,
    sizeBytes,
    granularityBytes,
    extents,
    nextOffset: at < sizeBytes ? at : null,
  };
}
