import type { SeenExports } from '../export/seen-exports.js';
import type { ServerEvent } from '../watch/happening.js';

/** Whether a caller may learn of an event: not more than it could ask for. */
export function maySeeEvent(seen: SeenExports, event: ServerEvent): boolean {
  if ('backup' in event) return event.exports.every((name) => seen.may('backup', name));
  if (event.type === 'bitmaps-changed') return seen.maySeeBitmaps(event.export);
  return seen.may('list', event.export);
}
