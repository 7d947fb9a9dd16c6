import type { Extents } from '../api/bitmap.js';
import { CodedError } from '../base/coded-error.js';
import { ExtentList } from '../base/extents.js';
import { DIRTY_BITMAP_PREFIX } from '../base/metadata-contexts.js';
import { DIRTY } from '../bitmap/dirty-bits.js';
import type { Export } from '../export/export.js';
import type { BitmapFacts } from '../export/export-facts.js';

/**
 * Lists at most `limit` extents of the bitmap, beginning at `offset`. @throws CodedError BAD_REQUEST,
 * BITMAP_INCONSISTENT, BITMAP_NOT_FOUND
 */
export async function pageOfExtents(served: Export, bitmap: string, offset: number, limit: number): Promise<Extents> {
  const { sizeBytes, granularityBytes } = consistentBitmap(served, bitmap);
  if (offset > sizeBytes)
    throw new CodedError('BAD_REQUEST', `offset ${offset} is past the end of the disk (${sizeBytes} bytes)`);
  const list = new ExtentList(limit);
  if (offset < sizeBytes) await served.context(DIRTY_BITMAP_PREFIX + bitmap)!.status(offset, sizeBytes - offset, list);
  let at = offset;
  const extents = list.lengths.map((length, i) => {
    const extent = { offset: at, length, dirty: (list.statuses[i]! & DIRTY) !== 0 };
    at += length;
    return extent;
  });
  return {
    export: served.name,
    bitmap,
    sizeBytes,
    granularityBytes,
    extents,
    nextOffset: at < sizeBytes ? at : null,
  };
}

/** A bitmap whose bits can be trusted. @throws CodedError BITMAP_NOT_FOUND, BITMAP_INCONSISTENT */
export function consistentBitmap(served: Export, name: string): BitmapFacts {
  const bitmap = served.getBitmap(name);
  if (bitmap.inconsistent === undefined) return bitmap;
  throw new CodedError(
    'BITMAP_INCONSISTENT',
    `Bitmap '${name}' is inconsistent and cannot be used: ${bitmap.inconsistent}`,
    'remove it and add it again; the next backup will be a full one',
  );
}
