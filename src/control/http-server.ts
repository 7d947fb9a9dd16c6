import type { ServerResponse } from 'node:http';
import { type Server, Socket } from 'node:net';
import type { onSendHookHandler, preHandlerHookHandler } from 'fastify';
import type { Log } from '../base/log.js';
import { LogLimit } from '../base/log-limit.js';

/** Limits on the clients of the control API. */
export interface HttpLimits {
  /** Connections to one address at a time, followers of events included. The server hangs up on any more. */
  readonly maxConnections: number;
  /** As many of them may come from one address of another machine. */
  readonly maxConnectionsEach: number;
  /** How long a client may take to send the headers of a request, and the whole request. */
  readonly headersMilliseconds: number;
  readonly requestMilliseconds: number;
  /** How long a connection may stay without a request. */
  readonly idleMilliseconds: number;
  /** How long a client may go without reading any of an answer. */
  readonly unreadMilliseconds: number;
}

/**
 * Each connection takes a file descriptor, and NBD clients and disks need most of those: the service unit allows 65536, a
 * shell often only 1024. To send a body of 1 MiB within 30 seconds, a client needs 35 kB/s.
 */
export const httpLimits: HttpLimits = {
  maxConnections: 64,
  maxConnectionsEach: 16,
  headersMilliseconds: 10_000,
  requestMilliseconds: 30_000,
  idleMilliseconds: 5_000,
  unreadMilliseconds: 30_000,
};

/** How late a timeout may fire, as a fraction of the timeout. */
const PART_LATE = 1 / 8;

/** The limits that Node's HTTP server enforces, as options of fastify. */
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

/** Hangs up on connections beyond the limit, and logs that at a limited rate. */
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

/** Hangs up on a client that does not read its answer. Node resets the timeout when the next request begins. */
export function hurryReaders({ unreadMilliseconds }: HttpLimits): onSendHookHandler {
  return (_request, { raw: { socket } }, _payload, done) => {
    if (socket instanceof Socket) socket.setTimeout(unreadMilliseconds);
    done();
  };
}

/** The requests that have been received in full and have not been answered yet. */
export class AnswersDue {
  /** By connection, because Node does not close a response that waits behind another when its connection closes. */
  private readonly responses = new Map<Socket, Set<ServerResponse>>();

  readonly watch: preHandlerHookHandler = ({ raw: { socket } }, { raw }, done) => {
    if (!socket.destroyed) {
      const onSocket = this.responsesOn(socket);
      onSocket.add(raw);
      raw.once('close', () => onSocket.delete(raw));
    }
    done();
  };

  get any(): boolean {
    return [...this.responses.values()].some((responses) => [...responses].some(({ headersSent }) => !headersSent));
  }

  private responsesOn(socket: Socket): Set<ServerResponse> {
    const known = this.responses.get(socket);
    if (known) return known;
    const responses = new Set<ServerResponse>();
    this.responses.set(socket, responses);
    socket.once('close', () => this.responses.delete(socket));
    return responses;
  }
}
