import { unreachable } from '../base/assert.js';
import type { SeenExports } from '../export/seen-exports.js';
import type { ServerEvent } from '../watch/happening.js';

/** An event as the caller may see it; undefined if it may not. Who asked is for those who administer the exports. */
export function seenEvent(seen: SeenExports, event: ServerEvent): ServerEvent | undefined {
  if (!maySeeEvent(seen, event)) return undefined;
  if (event.by === undefined || administers(seen, event)) return event;
  const { by: _, ...others } = event;
  return others;
}

/** Whether a caller may learn of an event: not more than it could ask for. */
function maySeeEvent(seen: SeenExports, event: ServerEvent): boolean {
  switch (event.type) {
    case 'export-added':
    case 'export-removed':
    case 'export-resized':
      return seen.may('list', event.export);
    case 'bitmaps-changed':
      return seen.maySeeBitmaps(event.export);
    case 'backup-begun':
    case 'backup-committed':
    case 'backup-aborted':
    case 'backup-scratch-filling':
      return event.exports.every((name) => seen.may('backup', name));
    case 'server-started':
    case 'server-stopping':
    case 'config-reloaded':
    case 'config-refused':
      return seen.access.mayAll('admin');
    default:
      return unreachable(event);
  }
}

function administers(seen: SeenExports, event: ServerEvent): boolean {
  if ('exports' in event) return event.exports.every((name) => seen.may('admin', name));
  return 'export' in event ? seen.may('admin', event.export) : seen.access.mayAll('admin');
}
