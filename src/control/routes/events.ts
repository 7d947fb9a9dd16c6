import type { ServerResponse } from 'node:http';
import { Type } from '@fastify/type-provider-typebox';
import { answerOf, Refusal } from '../../api/shapes.js';
import { MIB } from '../../base/units.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';
import { maySeeEvent } from '../seen-events.js';

const KEEP_ALIVE_MILLISECONDS = 15_000;
const MAX_UNREAD_BYTES = 1 * MIB;
/** Long enough for several keep-alive comments to go unread. */
const PATIENCE_MILLISECONDS = 4 * KEEP_ALIVE_MILLISECONDS;

export function eventRoutes(api: ControlApi, { events, tokens }: ControlHost): void {
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
        summary: 'Follow events of exports, bitmaps and backups as server-sent events',
        response: {
          200: answerOf('text/event-stream', 'An endless stream of events', Type.String()),
          default: Refusal,
        },
      },
    },
    ({ access, seen }, reply) => {
      reply.hijack();
      const stream = reply.raw;
      streams.add(stream);
      stream.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        connection: 'close',
      });
      stream.setTimeout(PATIENCE_MILLISECONDS, () => stream.destroy());
      stream.write(': following\n\n');
      const { token } = access.identity;
      const isOver = () => token !== undefined && !tokens.isValid(token.id);
      const unfollow = events.follow((event) => {
        if (isOver()) return void stream.end();
        if (!maySeeEvent(seen, event)) return;
        stream.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
        // A client that does not read is cut off. When it is back, it has to query the current state.
        if (stream.writableLength > MAX_UNREAD_BYTES) stream.destroy();
      });
      // A periodic comment reveals clients that are gone, and keeps proxies from hanging up.
      const keepAlive = setInterval(() => (isOver() ? stream.end() : stream.write(':\n\n')), KEEP_ALIVE_MILLISECONDS);
      stream.once('close', () => {
        streams.delete(stream);
        clearInterval(keepAlive);
        unfollow();
      });
    },
  );
}
