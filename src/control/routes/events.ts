import type { ServerResponse } from 'node:http';
import { Type } from '@fastify/type-provider-typebox';
import { EventPage, EventQuery } from '../../api/event.js';
import { answerOf, Refusal } from '../../api/shapes.js';
import { KIB } from '../../base/units.js';
import type { SeenExports } from '../../export/seen-exports.js';
import type { EventHistory, EventsWanted } from '../../watch/event-history.js';
import type { ServerEvent } from '../../watch/happening.js';
import type { ControlHost } from '../control-host.js';
import { streamEvents } from '../event-stream.js';
import type { ControlApi } from '../new-api.js';
import { wholeNumbers } from '../request-checks.js';
import { seenEvent } from '../seen-events.js';

const DEFAULT_PAGE_EVENTS = 100;
/** A larger answer would take the event loop for long. */
const PAGE_BYTES = 256 * KIB;

const LastEventId = Type.Object({
  'last-event-id': Type.Optional(
    Type.String({ description: 'The id of the last event that the caller has. Those after it are sent first' }),
  ),
});

export function eventRoutes(api: ControlApi, { events, history, tokens }: ControlHost): void {
  const streams = new Set<ServerResponse>();
  api.addHook('preClose', (done) => {
    for (const stream of streams) stream.end();
    done();
  });

  api.get(
    '/v1/events',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'followEvents',
        summary: 'Follow events as server-sent events',
        headers: LastEventId,
        response: {
          200: answerOf('text/event-stream', 'An endless stream of events', Type.String()),
          default: Refusal,
        },
      },
    },
    ({ access, seen, headers }, reply) => {
      reply.hijack();
      const stream = reply.raw;
      streams.add(stream);
      stream.once('close', () => streams.delete(stream));
      const { token } = access.identity;
      const isOver = () => token !== undefined && !tokens.isValid(token.id);
      const see = (event: ServerEvent) => seenEvent(seen, event);
      void streamEvents(stream, { events, history, see, isOver }, eventId(headers['last-event-id']));
    },
  );

  api.get(
    '/v1/events/history',
    {
      preValidation: wholeNumbers('limit', 'after', 'before'),
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'listEvents',
        summary: 'List the latest events in pages, newest first',
        querystring: EventQuery,
        response: { 200: EventPage, default: Refusal },
      },
    },
    async ({ seen, query: { limit = DEFAULT_PAGE_EVENTS, ...wanted } }) => pageOf(history, seen, wanted, limit),
  );
}

/** Undefined if it is none. */
function eventId(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function pageOf(history: EventHistory, seen: SeenExports, wanted: EventsWanted, limit: number): EventPage {
  const events: ServerEvent[] = [];
  let bytes = 0;
  for (const kept of history.query(wanted)) {
    const event = seenEvent(seen, kept.event);
    if (!event) continue;
    events.push(event);
    bytes += kept.bytes;
    if (events.length >= limit || bytes >= PAGE_BYTES) return { events, next: event.id };
  }
  return { events, next: null };
}
