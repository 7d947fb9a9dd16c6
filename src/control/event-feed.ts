import { EventEmitter } from 'node:events';
import type { BackupEvent } from '../backup/backup-event.js';

/** What happened to an export or its bitmaps. */
interface ExportEvent {
  readonly type: `export-${'added' | 'removed' | 'resized'}` | 'bitmaps-changed';
  readonly export: string;
  /** What was done to the bitmaps. */
  readonly actions?: readonly { readonly type: string; readonly bitmap: string }[];
}

export type Happening = ExportEvent | BackupEvent;

/** What happened, for whoever follows `GET /v1/events`; `at` in ISO 8601. */
export type ServerEvent = Happening & { readonly at: string };

/** Tells its followers each event as it happens; keeps none. */
export class EventFeed {
  private readonly emitter = new EventEmitter().setMaxListeners(0);

  publish(event: Happening): void {
    this.emitter.emit('event', { ...event, at: new Date().toISOString() } satisfies ServerEvent);
  }

  /** Returns what ends it. */
  follow(listener: (event: ServerEvent) => void): () => void {
    this.emitter.on('event', listener);
    return () => this.emitter.off('event', listener);
  }
}
