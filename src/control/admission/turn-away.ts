import type { Server, Socket } from 'node:net';
import { normalAddress } from '../../access/identity.js';
import { apiApplicant, isOneClient, type Refusals } from '../../access/refusals.js';
import type { Log } from '../../base/log.js';
import { LogLimit } from '../../base/log-limit.js';
import type { HttpLimits } from '../http-server.js';

interface Admission {
  readonly refusals: Refusals;
  readonly log: Log;
}

/**
 * Hangs up on clients who have to rest, and on those who have as many connections as one client may have, before anything
 * else looks at them.
 */
export function turnAway(server: Server, { maxConnectionsEach }: HttpLimits, { refusals, log }: Admission): void {
  const listeners = server.listeners('connection');
  server.removeAllListeners('connection');
  const counts = new Map<string, number>();
  const logLimit = new LogLimit();
  const isGreedy = (origin: string, client: string) => {
    if (!isOneClient(origin) || (counts.get(origin) ?? 0) < maxConnectionsEach) return false;
    const sinceLast = logLimit.admit(origin);
    const text = 'the control API hung up on a client: it has too many connections';
    if (sinceLast !== undefined) log.warn({ client, maxConnectionsEach, sinceLast }, text);
    return true;
  };
  server.on('connection', (socket: Socket) => {
    const client = normalAddress(socket.remoteAddress ?? '');
    const applicant = apiApplicant(client);
    const { origin } = applicant;
    if (refusals.turnsAway(applicant) || isGreedy(origin, client)) return void socket.destroy();
    counts.set(origin, (counts.get(origin) ?? 0) + 1);
    socket.once('close', () => {
      const left = counts.get(origin)! - 1;
      if (left > 0) counts.set(origin, left);
      else counts.delete(origin);
    });
    for (const listener of listeners) listener.call(server, socket);
  });
}
