import type { Log } from '../../base/log.js';
import { RemoteContext } from '../../export/elsewhere/remote-context.js';
import { type AskOwner, RemoteDevice } from '../../export/elsewhere/remote-device.js';
import type { Posix } from '../../posix/posix-calls.js';
import { Counters } from '../counters.js';
import { Link, type LinkHost } from '../link.js';
import { transmissionOver } from '../transmission-over.js';
import type { ClientToServe } from './thread-messages.js';

export interface ThreadHost extends LinkHost {
  readonly slot: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** Serves a client in this thread, on a disk of another one. Returns the link to it. */
export function serveClient(client: ClientToServe, host: ThreadHost, ask: AskOwner): Link {
  const { shared, capabilities, ...disk } = client.disk;
  const { slot, posix, log } = host;
  const device = new RemoteDevice({ capabilities, shared, slot, posix, log, ask });
  const agreement = {
    export: { ...disk, device },
    readOnly: client.readOnly,
    replies: client.replies,
    enforceBlockSize: client.enforceBlockSize,
    contexts: client.contexts.map(({ id, name }, index) => ({ id, context: new RemoteContext(name, index, ask) })),
  };
  Atomics.store(client.taken, 0, 1);
  const link = new Link({ fd: client.fd }, host, client.id, client.received);
  const counters = new Counters(client.counters);
  link.enter(transmissionOver(link, agreement, log, client.id, counters));
  link.advance();
  void link.closed.then(() => device.close());
  return link;
}
