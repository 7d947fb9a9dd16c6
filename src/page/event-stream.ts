import { type ApiClient, ApiProblem } from './api-client.js';

/** An event as `GET /v1/events` sends it. `at` is in ISO 8601. */
export interface SeenEvent {
  readonly type: string;
  readonly at: string;
  readonly export?: string;
  readonly exports?: readonly string[];
  readonly backup?: string;
  readonly bitmap?: string;
  readonly reason?: string;
  readonly percent?: number;
  readonly by?: string;
  readonly actions?: readonly { readonly type: string; readonly bitmap: string }[];
}

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
  readonly onEvent: (event: SeenEvent) => void;
  /** Called at the beginning, and whenever events may have been missed. */
  readonly onBegin: () => void;
  readonly signal: AbortSignal;
}

const RETRY_MILLISECONDS = 2000;

/** Follows the events of the server until `signal` aborts, through restarts of it, or until the token is refused. */
export async function followEvents(client: ApiClient, { onEvent, onBegin, signal }: Follower): Promise<void> {
  while (!signal.aborted) {
    try {
      const { body } = await client.open('/v1/events', signal);
      onBegin();
      await readAll(body!, onEvent);
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 401) return;
    }
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

async function readAll(body: ReadableStream<Uint8Array>, onEvent: (event: SeenEvent) => void): Promise<void> {
  const [cutter, decoder, reader] = [new EventCutter(), new TextDecoder(), body.getReader()];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    for (const data of cutter.push(decoder.decode(value, { stream: true }))) onEvent(JSON.parse(data));
  }
}
