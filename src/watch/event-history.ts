import { type EventType, MAX_EVENTS } from '../api/values.js';
import type { Log } from '../base/log.js';
import { MIB } from '../base/units.js';
import type { EventFeed } from './event-feed.js';
import { EventFile } from './event-file.js';
import { exportsOf, type KeptEvent, type ServerEvent } from './happening.js';

/** The most JSON that is kept in memory. */
const MAX_BYTES = 4 * MIB;

/** Which events to return: those with ids between two, of one type, about one export. */
export interface EventsWanted {
  readonly after?: number;
  readonly before?: number;
  readonly type?: EventType;
  readonly export?: string;
}

/** The latest events, in memory and, with a state directory, in files there. */
export class EventHistory {
  /** Oldest first. */
  private readonly kept: KeptEvent[] = [];
  private bytes = 0;
  private newestId = 0;

  private constructor(private readonly file: EventFile | undefined) {}

  /** Reads what an earlier run of the server has kept in this directory. Undefined: keep events in memory only. */
  static async open(directory: string | undefined, log: Log): Promise<EventHistory> {
    const file = directory === undefined ? undefined : new EventFile(directory, log);
    const history = new EventHistory(file);
    if (!file) return history;
    for (const line of await file.read()) history.remember(line);
    history.newestId = file.lastId;
    return history;
  }

  /** The id of the newest event; 0 if there was none. */
  get lastId(): number {
    return this.newestId;
  }

  /** Keeps what is published from now on. */
  follow(feed: EventFeed): void {
    feed.follow((event) => {
      const line = `${JSON.stringify(event)}\n`;
      this.newestId = event.id;
      this.remember({ event, bytes: Buffer.byteLength(line) });
      this.file?.append(line);
    });
  }

  /** Oldest first. */
  *after(id: number): Generator<ServerEvent> {
    // Whoever has seen a greater id than the last saw events that a power failure has taken.
    const from = id > this.lastId ? 0 : id;
    for (const { event } of this.kept) if (event.id > from) yield event;
  }

  /** Newest first. */
  *query({ after = 0, before = Number.POSITIVE_INFINITY, type, export: name }: EventsWanted): Generator<KeptEvent> {
    for (let i = this.kept.length - 1; i >= 0; i--) {
      const kept = this.kept[i]!;
      const { event } = kept;
      if (event.id <= after) return;
      if (event.id >= before || (type && event.type !== type)) continue;
      if (name === undefined || exportsOf(event).includes(name)) yield kept;
    }
  }

  /** Resolves when everything is written. */
  async close(): Promise<void> {
    await this.file?.settled();
  }

  private remember(kept: KeptEvent): void {
    this.kept.push(kept);
    this.bytes += kept.bytes;
    while (this.kept.length > MAX_EVENTS || (this.bytes > MAX_BYTES && this.kept.length > 1)) {
      this.bytes -= this.kept.shift()!.bytes;
    }
  }
}
