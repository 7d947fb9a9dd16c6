import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { MIB } from '../base/units.js';
import type { EventFeed } from '../watch/event-feed.js';
import type { EventHistory } from '../watch/event-history.js';
import type { ServerEvent } from '../watch/happening.js';

const KEEP_ALIVE_MILLISECONDS = 15_000;
const MAX_UNREAD_BYTES = 1 * MIB;
/** Long enough for several keep-alive comments to go unread. */
const PATIENCE_MILLISECONDS = 4 * KEEP_ALIVE_MILLISECONDS;

export interface StreamedEvents {
  readonly events: EventFeed;
  readonly history: EventHistory;
  /** The event as the follower may see it; undefined if it may not. */
  readonly see: (event: ServerEvent) => ServerEvent | undefined;
  /** Whether the follower may not follow any more. */
  readonly isOver: () => boolean;
}

/**
 * Sends server-sent events to a follower until it leaves: first what came after the event `lastId`, then what happens.
 * Resolves when the first part is done.
 */
export async function streamEvents(
  stream: ServerResponse,
  { events, history, see, isOver }: StreamedEvents,
  lastId: number | undefined,
): Promise<void> {
  const send = (event: ServerEvent) => {
    const shown = see(event);
    if (shown) stream.write(`id: ${shown.id}\nevent: ${shown.type}\ndata: ${JSON.stringify(shown)}\n\n`);
  };
  const gone = begin(stream, isOver);
  for (let last = lastId; last !== undefined && !gone.aborted; ) {
    last = sendSome(stream, history.after(last), send);
    if (last !== undefined) await once(stream, 'drain', { signal: gone }).catch(() => {});
  }
  if (gone.aborted) return;
  // Nothing can happen since the history was read, because nothing has waited.
  const unfollow = events.follow((event) => {
    if (isOver()) return void stream.end();
    send(event);
    // A client that does not read is cut off. When it is back, it says which event was its last.
    if (stream.writableLength > MAX_UNREAD_BYTES) stream.destroy();
  });
  gone.addEventListener('abort', unfollow);
}

/** The returned signal is aborted when the follower has gone. */
function begin(stream: ServerResponse, isOver: () => boolean): AbortSignal {
  const gone = new AbortController();
  // A periodic comment reveals clients that are gone, and keeps proxies from hanging up.
  const keepAlive = setInterval(() => (isOver() ? stream.end() : stream.write(':\n\n')), KEEP_ALIVE_MILLISECONDS);
  stream.once('close', () => {
    clearInterval(keepAlive);
    gone.abort();
  });
  stream.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'close' });
  stream.setTimeout(PATIENCE_MILLISECONDS, () => stream.destroy());
  stream.write(': following\n\n');
  return gone.signal;
}

/** Sends events until the follower has to read some. Returns the id of the last one; undefined when all are sent. */
function sendSome(
  stream: ServerResponse,
  events: Iterable<ServerEvent>,
  send: (event: ServerEvent) => void,
): number | undefined {
  for (const event of events) {
    send(event);
    if (stream.writableNeedDrain) return event.id;
  }
  return undefined;
}
