import type { Log } from '../../base/log.js';
import { logAbout } from '../../base/log-about.js';
import { AskedDevice, type AskOwner } from '../../export/elsewhere/asked-device.js';
import { RemoteContext } from '../../export/elsewhere/remote-context.js';
import { RemoteDevice } from '../../export/elsewhere/remote-device.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { TlsDoor } from '../../tls/door.js';
import { Link, type LinkHost } from '../link.js';
import { transmissionOver } from '../transmission-over.js';
import type { ClientTerms, ClientToServe } from './thread-messages.js';

export interface ThreadHost extends LinkHost {
  readonly slot: number;
  readonly posix: Posix | undefined;
  readonly log: Log;
  /** Undefined if there is no TLS. */
  door: TlsDoor | undefined;
}

/** Serves a client in this thread, on a disk of another one. Returns the link to it. */
export function serveClient(client: ClientToServe, host: ThreadHost, ask: AskOwner): Link {
  Atomics.store(client.taken, 0, 1);
  const link = new Link({ fd: client.fd }, host, client.id, client.received);
  transmitOver(link, client, host, ask);
  return link;
}

/** Begins the transmission phase on a link of this thread. */
export function transmitOver(link: Link, terms: ClientTerms, host: ThreadHost, ask: AskOwner): void {
  const device = deviceOf(terms, host, ask);
  const agreement = {
    export: { ...terms.disk, device },
    readOnly: terms.readOnly,
    replies: terms.replies,
    enforceBlockSize: terms.enforceBlockSize,
    contexts: terms.contexts.map(({ id, name }, index) => ({ id, context: new RemoteContext(name, index, ask) })),
  };
  link.enter(transmissionOver(link, agreement, host.log, terms.id, terms.accounting));
  link.advance();
  void link.closed.then(() => device.close());
}

function deviceOf({ disk }: ClientTerms, { slot, posix, log }: ThreadHost, ask: AskOwner): AskedDevice {
  const { shared, capabilities, sizeBytes } = disk;
  if (!shared) return new AskedDevice(capabilities, sizeBytes, ask);
  const about = logAbout(log, { export: disk.name });
  return new RemoteDevice({ capabilities, sizeBytes, shared, slot, posix, log: about, ask });
}
