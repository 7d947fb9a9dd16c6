import { type Server, Socket } from 'node:net';
import type { onSendHookHandler } from 'fastify';
import type { Log } from '../base/log.js';
import { LogLimit } from '../base/log-limit.js';

/** What a client of the control API may take of the server. */
export interface HttpLimits {
  /** On one address at a time, those included that follow events; more are hung up on. */
  readonly maxConnections: number;
  /** Until a connection has sent the headers of a request, and the whole of one. */
  readonly headersMilliseconds: number;
  readonly requestMilliseconds: number;
  /** How long a connection may stay without a request. */
  readonly idleMilliseconds: number;
  /** How long a client may read nothing of an answer. */
  readonly unreadMilliseconds: number;
}

/**
 * Each connection takes a descriptor, of which the NBD clients and the disks need the most: the service unit allows 65536,
 * a shell often 1024. A body of 1 MiB within 30 seconds is 35 kB/s.
 */
export const httpLimits: HttpLimits = {
  maxConnections: 64,
  headersMilliseconds: 10_000,
  requestMilliseconds: 30_000,
  idleMilliseconds: 5_000,
  unreadMilliseconds: 30_000,
};

/** How late a timeout may come, as part of it. */
const PART_LATE = 1 / 8;

/** The limits that Node's HTTP server keeps, as options of fastify. */
export function serverOptions({ headersMilliseconds, requestMilliseconds, idleMilliseconds }: HttpLimits) {
  return {
    requestTimeout: requestMilliseconds,
    keepAliveTimeout: idleMilliseconds,
    http: {
      headersTimeout: headersMilliseconds,
      requestTimeout: requestMilliseconds,
      connectionsCheckingInterval: Math.ceil(headersMilliseconds * PART_LATE),
    },
  };
}

/** Hangs up on more connections than there may be, and says so now and then. */
export function capConnections(server: Server, { maxConnections }: HttpLimits, log: Log): void {
  const logLimit = new LogLimit();
  server.maxConnections = maxConnections;
  server.on('drop', (peer) => {
    const sinceLast = logLimit.admit('drop');
    if (sinceLast === undefined) return;
    const client = peer?.remoteAddress ?? 'unix';
    log.warn({ client, maxConnections, sinceLast }, 'the control API hung up on a client: too many connections');
  });
}

/** From when an answer is sent, a client that does not read it is hung up on. Node takes that back with its next request. */
export function hurryReaders({ unreadMilliseconds }: HttpLimits): onSendHookHandler {
  return (_request, { raw: { socket } }, _payload, done) => {
    if (socket instanceof Socket) socket.setTimeout(unreadMilliseconds);
    done();
  };
}
