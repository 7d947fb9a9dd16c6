import type { ServerCheck } from '../tls/connect.js';

/** What an NBD URI says about TLS. The files that it does not name are found by `findTlsFiles`. */
export interface TlsWish extends ServerCheck {
  /** Undefined if certificates and keys are both welcome. */
  readonly type?: 'x509' | 'psk';
  /** Folder with ca-cert.pem, and client-cert.pem and client-key.pem for a server that wants a certificate. */
  readonly certificates?: string;
  /** File with `USER:KEY` in hexadecimal digits, one a line. */
  readonly pskFile?: string;
  readonly username?: string;
}

/** The parameters of a URI by name, and what else it says. */
interface UriParts {
  readonly parameters: ReadonlyMap<string, string>;
  readonly user: string | undefined;
  /** The host that the URI names; undefined for a unix socket. */
  readonly host: string | undefined;
}

/** Refuses the URI; `why` follows the URI in the message. */
type Refuse = (why: string, hint?: string) => never;

export const tlsParameters: ReadonlySet<string> = new Set([
  'tls-type',
  'tls-certificates',
  'tls-psk-file',
  'tls-username',
  'tls-hostname',
  'tls-verify-peer',
]);

const truths = new Map([
  ...['1', 'true', 't', 'yes', 'y', 'on'].map((word) => [word, true] as const),
  ...['0', 'false', 'f', 'no', 'n', 'off'].map((word) => [word, false] as const),
]);

/** Reads the parameters of doc/uri.md and of libnbd's nbd_connect_uri(3) that are about TLS. */
export function readTlsWish({ parameters, user, host }: UriParts, refuse: Refuse): TlsWish {
  for (const name of tlsParameters) if (parameters.get(name) === '') refuse(`has no value for "${name}"`);
  const type = readType(parameters, refuse);
  const certificates = parameters.get('tls-certificates');
  const pskFile = parameters.get('tls-psk-file');
  const username = parameters.get('tls-username') ?? user;
  const hostname = parameters.get('tls-hostname') ?? host;
  return {
    ...(type && { type }),
    ...(certificates !== undefined && { certificates }),
    ...(pskFile !== undefined && { pskFile }),
    ...(username !== undefined && { username }),
    ...(hostname !== undefined && { hostname }),
    verification: readVerification(parameters, hostname, refuse),
  };
}

function readType(parameters: UriParts['parameters'], refuse: Refuse): TlsWish['type'] {
  const [hasCertificates, hasKeys] = [parameters.has('tls-certificates'), parameters.has('tls-psk-file')];
  if (hasCertificates && hasKeys) refuse('names both certificates and keys', 'give one of them');
  const type = parameters.get('tls-type');
  if (type === 'anon') {
    refuse('asks for TLS without any proof of who the server is', 'use certificates (x509) or keys (psk)');
  }
  if (type !== undefined && type !== 'x509' && type !== 'psk') {
    refuse(`has the unknown tls-type "${type}"`, 'it is x509 for certificates, or psk for keys');
  }
  if (type === 'x509' && hasKeys) refuse('asks for certificates, and names keys', 'leave tls-type out');
  if (type === 'psk' && hasCertificates) refuse('asks for keys, and names certificates', 'leave tls-type out');
  if (hasKeys) return 'psk';
  return hasCertificates ? 'x509' : (type as TlsWish['type']);
}

/** On a unix socket nothing says which name to expect, so by default only the authority is checked. */
function readVerification(
  parameters: UriParts['parameters'],
  hostname: string | undefined,
  refuse: Refuse,
): ServerCheck['verification'] {
  const asked = parameters.get('tls-verify-peer');
  const verify = asked === undefined ? undefined : truths.get(asked.toLowerCase());
  if (asked !== undefined && verify === undefined) {
    refuse(`has the invalid tls-verify-peer "${asked}"`, 'it is 1 to check the certificate of the server, or 0');
  }
  if (verify === false) return 'nothing';
  if (hostname !== undefined) return 'name';
  if (verify) refuse('names no host to expect in the certificate of the server', 'give it with tls-hostname=HOST');
  return 'authority';
}
