import { EventEmitter } from 'node:events';
import type { Happening, ServerEvent } from './happening.js';

/** Gives each event its id and passes it to the followers, in the order in which they began to follow. */
export class EventFeed {
  private readonly emitter = new EventEmitter().setMaxListeners(0);

  /** `lastId` is the id of the last event before. */
  constructor(private lastId = 0) {}

  publish(happening: Happening): void {
    this.lastId++;
    this.emitter.emit('event', { id: this.lastId, ...happening, at: new Date().toISOString() } satisfies ServerEvent);
  }

  /** Returns the function that stops following. */
  follow(listener: (event: ServerEvent) => void): () => void {
    this.emitter.on('event', listener);
    return () => this.emitter.off('event', listener);
  }
}
