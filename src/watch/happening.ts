import type { BackupEvent } from '../backup/backup-event.js';

/** A change of an export or its bitmaps. */
interface ExportEvent {
  readonly type: `export-${'added' | 'removed' | 'resized'}` | 'bitmaps-changed';
  readonly export: string;
  /** The actions that changed the bitmaps. */
  readonly actions?: readonly { readonly type: string; readonly bitmap: string }[];
}

export type Happening = ExportEvent | BackupEvent;

/** An event as `GET /v1/events` sends it; `at` is in ISO 8601. */
export type ServerEvent = Happening & { readonly at: string };
