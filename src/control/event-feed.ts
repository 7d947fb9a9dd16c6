import { EventEmitter } from 'node:events';

/** What happened to an export or its bitmaps, for whoever follows `GET /v1/events`. */
export interface ServerEvent {
  readonly type: `export-${'added' | 'removed' | 'resized'}` | 'bitmaps-changed';
  readonly export: string;
  /** ISO 8601. */
  readonly at: string;
  /** What was done to the bitmaps. */
  readonly actions?: readonly { readonly type: string; readonly bitmap: string }[];
}

/** Tells its followers each event as it happens; keeps none. */
export class EventFeed {
  private readonly emitter = new EventEmitter().setMaxListeners(0);

  publish(event: Omit<ServerEvent, 'at'>): void {
    this.emitter.emit('event', { ...event, at: new Date().toISOString() } satisfies ServerEvent);
  }

  /** Returns what ends it. */
  follow(listener: (event: ServerEvent) => void): () => void {
    this.emitter.on('event', listener);
    return () => this.emitter.off('event', listener);
  }
}
