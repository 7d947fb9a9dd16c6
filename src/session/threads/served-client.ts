import type { Log } from '../../base/log.js';
import type { Posix } from '../../posix/posix-calls.js';
import { QuickFile } from '../../storage/file/quick-file.js';
import { PermittedWrites } from '../../storage/permits/permitted-writes.js';
import { Counters } from '../counters.js';
import { Link, type LinkHost } from '../link.js';
import { transmissionOver } from '../transmission-over.js';
import { RemoteContext } from './remote-context.js';
import { type AskOwner, RemoteDevice } from './remote-device.js';
import type { ClientToServe } from './thread-messages.js';

export interface ThreadHost extends LinkHost {
  readonly slot: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
}

/** Serves a client in this thread, on a disk of another one. Returns the link to it. */
export function serveClient(client: ClientToServe, host: ThreadHost, ask: AskOwner): Link {
  const { shared, capabilities, ...disk } = client.disk;
  const permitted = new PermittedWrites(shared.permits, host.slot);
  const file = new QuickFile(shared, host.posix, host.log);
  const agreement = {
    export: { ...disk, device: new RemoteDevice(capabilities, file, permitted, ask) },
    structuredReplies: client.structuredReplies,
    enforceBlockSize: client.enforceBlockSize,
    contexts: client.contexts.map(({ id, name }, index) => ({ id, context: new RemoteContext(name, index, ask) })),
  };
  const link = new Link({ fd: client.fd }, host, client.id);
  const counters = new Counters(client.counters);
  link.enter(transmissionOver(link, agreement, host.log, client.id, counters), client.received);
  return link;
}
