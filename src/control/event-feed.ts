import { EventEmitter } from 'node:events';
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

/** Passes each event to its followers when it happens. Events are not stored. */
export class EventFeed {
  private readonly emitter = new EventEmitter().setMaxListeners(0);

  publish(event: Happening): void {
    this.emitter.emit('event', { ...event, at: new Date().toISOString() } satisfies ServerEvent);
  }

  /** Returns the function that stops following. */
  follow(listener: (event: ServerEvent) => void): () => void {
    this.emitter.on('event', listener);
    return () => this.emitter.off('event', listener);
  }
}
