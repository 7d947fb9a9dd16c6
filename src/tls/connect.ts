import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { type ConnectionOptions, checkServerIdentity, connect, type TLSSocket } from 'node:tls';
import { describeServerFault, type ServerFault } from './server-faults.js';
import type { TlsSettings } from './tls-settings.js';

/** How a client judges a server's certificate. */
export interface ServerCheck {
  /** The name to send, and to expect if `verification` says so. */
  readonly hostname?: string | undefined;
  /** What has to be right about the certificate: its name and its authority, its authority, or nothing. */
  readonly verification: 'name' | 'authority' | 'nothing';
}

/** TLS could not be set up, for a reason that a new connection would not change. */
export class TlsFaultError extends Error {
  override readonly name = 'TlsFaultError';

  constructor(
    readonly fault: ServerFault,
    cause: Error,
  ) {
    super(fault.problem, { cause });
  }
}

/** AES with 128 bits first, because it is the fastest here. TLS 1.3 uses keys only with suites for SHA-256. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE+AESGCM',
  'ECDHE+CHACHA20',
];
const KEY_CIPHERS = [...CIPHERS.slice(0, 3), 'ECDHE-PSK-CHACHA20-POLY1305', 'PSK+AESGCM'];

/**
 * Makes TLS on a connected socket that nobody reads any more. The server is judged before this resolves. After a failure
 * the socket is destroyed. @throws TlsFaultError, or the system error of the connection
 */
export function secureClient(raw: Socket, settings: TlsSettings, check: ServerCheck): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secured = connect({ socket: raw, minVersion: 'TLSv1.2', ...optionsFor(settings, check) });
    const fail = (error: Error) => {
      secured.destroy();
      const fault = describeServerFault(error, check.hostname);
      reject(fault ? new TlsFaultError(fault, error) : error);
    };
    const close = () => fail(Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' }));
    secured.once('error', fail).once('close', close);
    secured.once('secureConnect', () => {
      secured.off('error', fail).off('close', close);
      // A server that chose a certificate instead of the key was not judged at all.
      if (settings.psk.size > 0 && secured.getPeerX509Certificate() !== undefined) {
        fail(Object.assign(new Error('the server did not use the key'), { code: 'KEY_NOT_USED' }));
      } else resolve(secured);
    });
  });
}

function optionsFor(settings: TlsSettings, check: ServerCheck): ConnectionOptions {
  const { hostname } = check;
  const servername = hostname !== undefined && isIP(hostname) === 0 ? { servername: hostname } : {};
  const [entry] = settings.psk;
  if (entry) {
    const [identity, psk] = entry;
    const pskCallback = () => ({ identity, psk });
    return { ...servername, ciphers: KEY_CIPHERS.join(':'), pskCallback, checkServerIdentity: () => undefined };
  }
  const { ca, certificate, key, crl } = settings;
  return {
    ...servername,
    ciphers: CIPHERS.join(':'),
    ...(ca !== undefined && { ca }),
    ...(certificate !== undefined && { cert: certificate, key }),
    ...(crl !== undefined && { crl }),
    rejectUnauthorized: check.verification !== 'nothing',
    checkServerIdentity: (_, peer) =>
      check.verification === 'name' ? checkServerIdentity(hostname ?? '', peer) : undefined,
  };
}
