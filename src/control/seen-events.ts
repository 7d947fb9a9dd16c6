import { unreachable } from '../base/assert.js';
import type { SeenExports } from '../export/seen-exports.js';
import { exportsOf, type ServerEvent, type ThresholdPassed } from '../watch/happening.js';

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
    case 'threshold-crossed':
    case 'threshold-cleared':
      return maySeeThreshold(seen, event);
    case 'server-started':
    case 'server-stopping':
    case 'config-reloaded':
    case 'config-refused':
    case 'hook-failed':
      return seen.access.mayAll('admin');
    default:
      return unreachable(event);
  }
}

/** Room is for administrators, as the paths of disks are. */
function maySeeThreshold(seen: SeenExports, { export: name, kind }: ThresholdPassed): boolean {
  if (name === undefined) return seen.access.mayAll('admin');
  return kind === 'room' ? seen.may('admin', name) : seen.maySeeBitmaps(name);
}

function administers(seen: SeenExports, event: ServerEvent): boolean {
  const about = exportsOf(event);
  return about.length === 0 ? seen.access.mayAll('admin') : about.every((name) => seen.may('admin', name));
}
