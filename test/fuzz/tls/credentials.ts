import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ConnectionOptions } from 'node:tls';
import { CertificateMaker, type Issued } from '../../support/certificate-maker.js';
import type { Guest } from './sight.js';

/** Clients that must not get through the TLS handshake, although each resembles one that may. */
export const intruders = ['foreign', 'revoked', 'misused', 'wrong key', 'unknown user'] as const;
type Intruder = (typeof intruders)[number];
export type TlsClient = Guest | Intruder;

/** What each client proves who it is with. */
export type Credentials = Readonly<Record<TlsClient, ConnectionOptions>>;

const KEY = Buffer.alloc(32, 7);
const CERTIFICATES = 'tls';
const KEYS = 'keys.psk';

/** How the server finds the files that `makeCredentials` has written. */
export const tlsArguments = ['--tls', 'optional', '--tls-certificates', CERTIFICATES, '--tls-psk', KEYS];

/** Writes what the server needs into the folder. */
export async function makeCredentials(folder: string): Promise<Credentials> {
  const [authority, stranger] = await Promise.all([CertificateMaker.create('fuzz'), CertificateMaker.create('fuzz')]);
  const client = (subject: string, host?: string) =>
    authority.issue({ subject, purpose: 'client', hosts: host === undefined ? [] : [{ type: 'dns', value: host }] });
  const server = await authority.issue({ subject: 'CN=localhost', purpose: 'server' });
  const revoked = await client('CN=reader');
  mkdirSync(join(folder, CERTIFICATES));
  writeSecret(join(folder, CERTIFICATES, 'ca-cert.pem'), authority.certificate);
  writeSecret(join(folder, CERTIFICATES, 'ca-crl.pem'), await authority.revoke([revoked.serial]));
  writeSecret(join(folder, CERTIFICATES, 'server-cert.pem'), server.certificate);
  writeSecret(join(folder, CERTIFICATES, 'server-key.pem'), server.key);
  writeSecret(join(folder, KEYS), `admin:${KEY.toString('hex')}\n`);
  const ca = authority.certificate;
  const shown = ({ certificate, key }: Issued): ConnectionOptions => ({ ca, cert: certificate, key });
  const keyed = (identity: string, psk: Buffer): ConnectionOptions => ({
    ...{ ca, ciphers: 'TLS_AES_128_GCM_SHA256:PSK' },
    pskCallback: () => ({ identity, psk }),
  });
  return {
    stranger: { ca },
    reader: shown(await client('CN=reader')),
    writer: shown(await client('CN=somebody', 'Disks.Writers.Example')),
    keeper: shown(await client('O=Example, CN=keeper')),
    admin: keyed('admin', KEY),
    unnamed: shown(await client('CN=admin', 'writers.example')),
    foreign: shown(await stranger.issue({ subject: 'CN=reader', purpose: 'client' })),
    revoked: shown(revoked),
    misused: shown(await authority.issue({ subject: 'CN=reader', purpose: 'server' })),
    'wrong key': keyed('admin', Buffer.alloc(32, 8)),
    'unknown user': keyed('root', KEY),
  };
}

function writeSecret(path: string, content: string): void {
  writeFileSync(path, content);
  chmodSync(path, 0o600);
}
