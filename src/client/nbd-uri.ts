import { DEFAULT_NBD_PORT, formatHostPort, type HostPort } from '../base/host-port.js';
import { NbdUriError } from './errors.js';

export type NbdAddress = HostPort | { readonly socketPath: string };

/** An export of a server. */
export interface NbdTarget {
  readonly address: NbdAddress;
  /** '' is the server's default export. */
  readonly exportName: string;
}

const SCHEMES = ['nbd', 'nbd+unix', 'nbds', 'nbds+unix'];

/** RFC 3986, appendix B: scheme, authority, path, query, fragment. */
const uriParts = /^([^:/?#]+):(?:\/\/([^/?#]*))?([^?#]*)(?:\?([^#]*))?(#.*)?$/;
/** User (only used with TLS), host with or without brackets, port. */
const authorityParts = /^(?:[^@]*@)?(?:\[([^\]]+)\]|([^:[\]]*))(?::(\d*))?$/;

/** Whether the text is meant as an NBD URI rather than the name of an export. */
export function looksLikeNbdUri(text: string): boolean {
  const scheme = /^([^:/?#]+):/.exec(text)?.[1];
  return scheme !== undefined && SCHEMES.includes(scheme.toLowerCase());
}

/**
 * Reads an NBD URI as doc/uri.md of the NBD project defines it: `nbd://HOST[:PORT]/EXPORT` or
 * `nbd+unix:///EXPORT?socket=PATH`. @throws NbdUriError
 */
export function parseNbdUri(uri: string): NbdTarget {
  const refuse = (why: string, hint = 'an NBD URI is nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH') => {
    throw new NbdUriError(`"${uri}" ${why}`, hint);
  };
  const [, rawScheme = '', authority = '', path = '', query = '', fragment = ''] =
    uriParts.exec(uri) ?? refuse('is not a URI');
  const scheme = rawScheme.toLowerCase();
  if (!SCHEMES.includes(scheme)) refuse('is not an NBD URI');
  if (scheme.startsWith('nbds'))
    refuse('asks for TLS, which this client does not support', 'use nbd:// or nbd+unix://');
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
  const unknown = [...parameters.keys()].find((name) => name !== 'socket' || scheme === 'nbd');
  if (unknown !== undefined) refuse(`has the unknown parameter "${unknown}"`);

  if (scheme === 'nbd+unix') {
    const socketPath = parameters.get('socket') ?? '';
    if (socketPath === '') refuse('names no socket');
    if (authority !== '')
      refuse('names both a host and a socket', 'write three slashes: nbd+unix:///EXPORT?socket=PATH');
    return { address: { socketPath }, exportName };
  }
  const [, bracketed, name, port = ''] = authorityParts.exec(authority) ?? refuse('has no valid host and port');
  const portNumber = port === '' ? DEFAULT_NBD_PORT : Number(port);
  if (portNumber < 1 || portNumber > 65535) refuse(`has no valid port`);
  return { address: { host: decode(bracketed ?? name ?? '') || 'localhost', port: portNumber }, exportName };
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
