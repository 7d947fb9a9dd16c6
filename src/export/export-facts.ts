import type { Bitmap } from '../api/bitmap.js';
import type { MinBlockBytes } from '../api/values.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';

/** What others may know of an export. */
export interface ExportFacts {
  readonly name: string;
  readonly path: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly minBlockBytes: MinBlockBytes;
  /** Regions all of which would count as dirty after a crash. */
  readonly activeRegions: number;
}

type OfBitmap =
  | 'name'
  | 'granularityBytes'
  | 'sizeBytes'
  | 'dirtyBytes'
  | 'recording'
  | 'busy'
  | 'persistent'
  | 'inconsistent'
  | 'base';

/** What others may know of a bitmap. */
export interface BitmapFacts extends Pick<DirtyBitmap, OfBitmap> {
  /** Why a bitmap from an earlier run of the server is trusted. */
  readonly trust: Bitmap['trust'];
}

export function factsOfBitmap(bitmap: DirtyBitmap, trust: Bitmap['trust']): BitmapFacts {
  const { name, granularityBytes, sizeBytes, dirtyBytes, recording, busy, persistent, inconsistent, base } = bitmap;
  return { name, granularityBytes, sizeBytes, dirtyBytes, recording, busy, persistent, inconsistent, base, trust };
}
