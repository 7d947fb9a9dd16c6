import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Identity, normalAddress } from '../access/identity.js';
import { formatHostPort, isLoopback, reachableHost } from '../base/host-port.js';
import type { ServerFacts } from './control-host.js';

/** How a caller of the API reaches the NBD server. */
export interface Reach {
  /** Whether the caller is on this machine, and so may use unix sockets and loopback addresses. */
  readonly isHere: boolean;
  /** The address of this machine that the caller used, and the name by which it called it. Undefined: a unix socket. */
  readonly called?: { readonly name: string; readonly address: string };
  /** The user whose key the caller has. */
  readonly psk?: string | undefined;
}

/** From the connection, and not from who the caller is: the operator may be on another machine, too. */
export function reachOf({ socket, headers }: IncomingMessage, { psk }: Identity): Reach {
  const remote = normalAddress(socket.remoteAddress ?? '');
  const isHere = remote === '' || isLoopback(remote);
  if (isHere && !(socket instanceof TLSSocket)) return { isHere };
  const address = normalAddress(socket.localAddress ?? '');
  return { isHere, called: { name: nameIn(headers.host) ?? address, address }, psk };
}

/**
 * The NBD URI of an export for a caller. On this machine it prefers the unix socket, because it is faster. Whoever came by
 * TLS or from elsewhere gets the name that it used, because the certificate fits that. Empty if there is no way.
 */
export function nbdUri(nbd: ServerFacts['nbd'], exportName: string, reach: Reach): string {
  const name = encodeURIComponent(exportName).replaceAll('%40', '@');
  const { isHere, called, psk } = reach;
  const listener = called && nbd.tcp.find(({ host }) => accepts(host, called.address));
  if (listener) {
    const user = psk === undefined || nbd.tls === 'none' ? '' : `${encodeURIComponent(psk)}@`;
    const place = formatHostPort({ host: called.name, port: listener.port });
    return `${nbd.tls === 'none' ? 'nbd' : 'nbds'}://${user}${place}/${name}`;
  }
  return isHere ? uriHere(nbd, name) : '';
}

function uriHere({ tcp, unix, tls }: ServerFacts['nbd'], name: string): string {
  const scheme = tls === 'required' ? 'nbds' : 'nbd';
  if (unix !== undefined) return `${scheme}+unix:///${name}?socket=${encodePath(unix)}`;
  const [address] = tcp;
  if (!address) return '';
  return `${scheme}://${formatHostPort({ ...address, host: reachableHost(address.host) })}/${name}`;
}

/** Whether a server that listens on `host` can be reached at this address of the machine. */
function accepts(host: string, address: string): boolean {
  return host === '::' || normalAddress(host) === address || (host === '0.0.0.0' && isIP(address) === 4);
}

/** The name or address in a Host header, without its port. Undefined if it is not fit for a URI. */
function nameIn(host = ''): string | undefined {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  return isIP(name) > 0 || /^[\w.-]+$/.test(name) ? name : undefined;
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
