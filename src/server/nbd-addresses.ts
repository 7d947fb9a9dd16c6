import type { AddressInfo } from 'node:net';
import { dirname, resolve } from 'node:path';
import { formatHostPort } from '../base/host-port.js';
import type { ServerConfig } from './config.js';
import { pathOfUnixSocket } from './listen-fds.js';
import type { NbdListener } from './nbd-listener.js';
import { checkSocketPath, clearSocketPath, openToOthers, refuseAddress } from './unix-socket.js';

/** Where clients reach a server. */
export interface NbdAddresses {
  readonly tcp: readonly AddressInfo[];
  /** The unix socket to announce to clients. Absolute, because a client may run in another directory. */
  readonly unixPath: string | undefined;
}

/** Listens on all addresses of the configuration. @throws CodedError ADDRESS_UNUSABLE */
export async function listenForClients(
  listener: NbdListener,
  { listen, unixPath, unixAccess, inheritedSockets }: ServerConfig,
): Promise<NbdAddresses> {
  const tcp: AddressInfo[] = [];
  let inheritedPath: string | undefined;
  for (const address of listen) {
    const bound = listener.listenTcp(address.host, address.port);
    tcp.push(await bound.catch(refuseAddress(formatHostPort(address))));
  }
  for (const fd of inheritedSockets) {
    const bound = await listener.listenFd(fd).catch(refuseAddress(`inherited socket ${fd}`));
    if (bound) tcp.push(bound);
    else inheritedPath ??= await pathOfUnixSocket(fd);
  }
  if (unixPath === undefined) return { tcp, unixPath: inheritedPath };
  await clearSocketPath(unixPath);
  await listener.listenUnix(unixPath).catch(refuseAddress(unixPath));
  await openToOthers(unixPath, unixAccess);
  return { tcp, unixPath: resolve(unixPath) };
}

/** Runs before anything is created, so that an unusable path does not leave a state directory behind. */
export async function checkSocketPaths({ unixPath, controlPath, stateDirectory }: ServerConfig): Promise<void> {
  const state = `${resolve(stateDirectory)}/`;
  for (const path of [unixPath, controlPath]) {
    const folder = path && `${dirname(resolve(path))}/`;
    // The folder will be created together with the state directory.
    const isMade = folder && (folder.startsWith(state) || state.startsWith(folder));
    if (path && !isMade) await checkSocketPath(path);
  }
}
