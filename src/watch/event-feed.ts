import { EventEmitter } from 'node:events';
import type { Happening, ServerEvent } from './happening.js';

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
