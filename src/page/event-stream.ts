import type { Event } from '../api/event.js';
import { type ApiClient, ApiProblem } from './api-client.js';

/** Cuts a stream of server-sent events, which arrives in pieces of any length, into the data of its events. */
export class EventCutter {
  private rest = '';

  push(text: string): string[] {
    const blocks = (this.rest + text).split('\n\n');
    this.rest = blocks.pop()!;
    return blocks.flatMap((block) => {
      const data = block.split('\n').filter((line) => line.startsWith('data: '));
      return data.length === 0 ? [] : [data.map((line) => line.slice('data: '.length)).join('\n')];
    });
  }
}

interface Follower {
  /** The id of the last event that is known. Those after it come first. */
  readonly after: number;
  readonly onEvent: (event: Event) => void;
  /** Called whenever the page has connected, because it may have missed something that is no event. */
  readonly onBegin: () => void;
  readonly signal: AbortSignal;
}

const RETRY_MILLISECONDS = 2000;

/** Follows the events of the server until `signal` aborts, through restarts of it, or until the token is refused. */
export async function followEvents(client: ApiClient, { after, onEvent, onBegin, signal }: Follower): Promise<void> {
  let last = after;
  const take = (event: Event) => {
    last = event.id;
    onEvent(event);
  };
  while (!signal.aborted) {
    try {
      const { body } = await client.open('/v1/events', signal, { 'last-event-id': String(last) });
      onBegin();
      await readAll(body!, take);
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 401) return;
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

async function readAll(body: ReadableStream<Uint8Array>, onEvent: (event: Event) => void): Promise<void> {
  const [cutter, decoder, reader] = [new EventCutter(), new TextDecoder(), body.getReader()];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const data of cutter.push(decoder.decode(value, { stream: true }))) onEvent(JSON.parse(data));
  }
}
