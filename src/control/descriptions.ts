import type { Bitmap } from '../api/bitmap.js';
import type { ExportDescription } from '../api/export.js';
import type { ExportOrigin } from '../api/values.js';
import { baseOf } from '../backup/base-link.js';
import type { Export } from '../export/export.js';
import type { BitmapFacts } from '../export/export-facts.js';
import type { SeenExports } from '../export/seen-exports.js';

export function describeBitmap(exportName: string, bitmap: BitmapFacts): Bitmap {
  const { name, granularityBytes, sizeBytes, dirtyBytes, recording, busy, persistent, inconsistent, trust } = bitmap;
  return {
    name,
    export: exportName,
    granularityBytes,
    sizeBytes,
    dirtyBytes,
    recording,
    busy,
    persistent,
    inconsistent: inconsistent !== undefined,
    ...(inconsistent === undefined ? {} : { inconsistentReason: inconsistent }),
    base: baseOf(bitmap),
    ...(trust && { trust }),
  };
}

/** Who gets a description. */
interface Onlooker {
  readonly seen: SeenExports;
  /** How the onlooker reaches an export over NBD. */
  readonly uri: (exportName: string) => string;
  readonly originOf: (served: Export) => ExportOrigin;
}

/** Who may not read it does not see its bitmaps, and where it is and who uses it is for administrators. */
export function describeExport(served: Export, { seen, uri, originOf }: Onlooker): ExportDescription {
  const { name, path, description, sizeBytes, readOnly, minBlockBytes } = served.facts();
  const isAdmin = seen.may('admin', name);
  const bitmaps = seen.maySeeBitmaps(name) ? served.bitmapFacts() : [];
  return {
    name,
    ...(isAdmin && { path, origin: originOf(served) }),
    description,
    sizeBytes,
    readOnly,
    minBlockBytes,
    uri: uri(name),
    bitmaps: bitmaps.map((bitmap) => describeBitmap(name, bitmap)),
    connections: isAdmin ? served.clients() : [],
  };
}
