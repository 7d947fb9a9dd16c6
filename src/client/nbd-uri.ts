import { DEFAULT_NBD_PORT, formatHostPort, type HostPort } from '../base/host-port.js';
import { NbdUriError } from './errors.js';
import { readTlsWish, type TlsWish, tlsParameters } from './tls-wish.js';

export type NbdAddress = HostPort | { readonly socketPath: string };

/** An export of a server. */
export interface NbdTarget {
  readonly address: NbdAddress;
  /** '' is the server's default export. */
  readonly exportName: string;
  /** Set if the connection must be encrypted. */
  readonly tls?: TlsWish;
}

/** How a connection is made for each scheme. */
const schemes: Readonly<Record<string, { readonly over: 'tcp' | 'unix' | 'vsock'; readonly tls: boolean }>> = {
  nbd: { over: 'tcp', tls: false },
  nbds: { over: 'tcp', tls: true },
  'nbd+unix': { over: 'unix', tls: false },
  'nbds+unix': { over: 'unix', tls: true },
  'nbd+vsock': { over: 'vsock', tls: false },
  'nbds+vsock': { over: 'vsock', tls: true },
};

const FORMS = 'an NBD URI is nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, with nbds for TLS';

/** RFC 3986, appendix B: scheme, authority, path, query, fragment. */
const uriParts = /^([^:/?#]+):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/;
/** User (only used with TLS), host with or without brackets, port. */
const authorityParts = /^(?:([^@]*)@)?(?:\[([^\]]+)\]|([^:[\]]*))(?::(\d*))?$/;

/** Whether the text is meant as an NBD URI rather than the name of an export. */
export function looksLikeNbdUri(text: string): boolean {
  const scheme = /^([^:/?#]+):/.exec(text)?.[1];
  return scheme !== undefined && Object.hasOwn(schemes, scheme.toLowerCase());
}

/**
 * Reads an NBD URI as doc/uri.md of the NBD project defines it: `nbd://HOST[:PORT]/EXPORT` or
 * `nbd+unix:///EXPORT?socket=PATH`, or one of these with `nbds` for TLS. @throws NbdUriError
 */
export function parseNbdUri(uri: string): NbdTarget {
  const refuse = (why: string, hint = FORMS): never => {
    throw new NbdUriError(`"${uri}" ${why}`, hint);
  };
  const [, rawScheme = '', rawAuthority = '', path = '', query = '', fragment = ''] =
    uriParts.exec(uri) ?? refuse('is not a URI');
  const scheme = rawScheme.toLowerCase();
  const { over, tls } = (Object.hasOwn(schemes, scheme) && schemes[scheme]) || refuse('is not an NBD URI');
  if (over === 'vsock') refuse('asks for vsock, which this client does not support', 'use a network or a unix socket');
  if (fragment !== '') refuse('has a fragment', 'write a # in the name of an export as %23');

  const decode = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      return refuse('has a % that is not followed by two hexadecimal digits of UTF-8 text');
    }
  };
  const exportName = decode(path.replace(/^\//, ''));
  const parameters = readQuery(query, decode);
  const authority = readAuthority(rawAuthority, decode, refuse);
  for (const name of parameters.keys()) {
    const isForTls = tlsParameters.has(name);
    if (isForTls && !tls) refuse(`has the parameter "${name}", but does not ask for TLS`, `use ${asTls(scheme)}:`);
    if (!isForTls && (name !== 'socket' || over !== 'unix')) refuse(`has the unknown parameter "${name}"`);
  }
  const { user, host } = authority;
  const wish = tls && readTlsWish({ parameters, user, host: over === 'tcp' ? host : undefined }, refuse);
  return { address: addressOf(over, authority, parameters, refuse), exportName, ...(wish && { tls: wish }) };
}

function asTls(scheme: string): string {
  return scheme.replace('nbd', 'nbds');
}

interface Authority extends HostPort {
  readonly user: string | undefined;
  /** Whether the URI names a host or a port. */
  readonly isNamed: boolean;
}

function readAuthority(text: string, decode: (text: string) => string, refuse: (why: string) => never): Authority {
  const parts = authorityParts.exec(text) ?? refuse('has no valid host and port');
  const [, user, bracketed, name = '', port] = parts;
  const portNumber = port ? Number(port) : DEFAULT_NBD_PORT;
  if (portNumber < 1 || portNumber > 65535) refuse('has no valid port');
  const isNamed = bracketed !== undefined || name !== '' || port !== undefined;
  const host = decode(bracketed ?? name) || 'localhost';
  return { user: user ? decode(user) : undefined, host, port: portNumber, isNamed };
}

function addressOf(
  over: string,
  { host, port, isNamed }: Authority,
  parameters: ReadonlyMap<string, string>,
  refuse: (why: string, hint?: string) => never,
): NbdAddress {
  if (over === 'tcp') return { host, port };
  const socketPath = parameters.get('socket') || refuse('names no socket');
  if (isNamed) refuse('names both a host and a socket', 'write three slashes: nbd+unix:///EXPORT?socket=PATH');
  return { socketPath };
}

/** A plus sign stands for itself. It means a space only in web forms. */
function readQuery(query: string, decode: (text: string) => string): Map<string, string> {
  const parameters = new Map<string, string>();
  for (const part of query.split('&').filter((part) => part !== '')) {
    const [name, ...value] = part.split('=');
    parameters.set(decode(name!), decode(value.join('=')));
  }
  return parameters;
}

/** Formats the address for people. */
export function formatAddress(address: NbdAddress): string {
  return 'socketPath' in address ? address.socketPath : formatHostPort(address);
}

/** @throws NbdUriError */
export function resolveTarget(target: NbdTarget | string): NbdTarget {
  return typeof target === 'string' ? parseNbdUri(target) : target;
}
