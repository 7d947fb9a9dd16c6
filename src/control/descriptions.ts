import type { Bitmap } from '../api/bitmap.js';
import type { ExportDescription } from '../api/export.js';
import { baseOf } from '../backup/base-link.js';
import { formatHostPort, reachableHost } from '../base/host-port.js';
import type { Export } from '../export/export.js';
import type { BitmapFacts } from '../export/export-facts.js';
import type { SeenExports } from '../export/seen-exports.js';
import type { ServerFacts } from './control-host.js';

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

/** Who may not read it does not see its bitmaps, and where it is and who uses it is for administrators. */
export function describeExport(served: Export, seen: SeenExports): ExportDescription {
  const { name, path, description, sizeBytes, readOnly, minBlockBytes } = served.facts();
  const [isAdmin, mayRead, mayBackUp] = (['admin', 'read', 'backup'] as const).map((right) => seen.may(right, name));
  const bitmaps = mayRead || mayBackUp ? served.bitmapFacts() : [];
  return {
    name,
    ...(isAdmin && { path }),
    description,
    sizeBytes,
    readOnly,
    minBlockBytes,
    bitmaps: bitmaps.map((bitmap) => describeBitmap(name, bitmap)),
    connections: isAdmin ? served.clients() : [],
  };
}

/** The NBD URI of an export for clients on this machine. Prefers the unix socket, because it is faster. */
export function viewUri({ tcp, unix }: ServerFacts['nbd'], exportName: string): string {
  const name = encodeURIComponent(exportName).replaceAll('%40', '@');
  if (unix !== undefined) return `nbd+unix:///${name}?socket=${encodePath(unix)}`;
  const [address] = tcp;
  if (!address) return '';
  return `nbd://${formatHostPort({ ...address, host: reachableHost(address.host) })}/${name}`;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
