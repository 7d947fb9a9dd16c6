import { createPrivateKey, X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { readPskFile } from './psk-file.js';
import { firstUpdateOf } from './revocations.js';
import { readPublicFile, readSecretFile } from './secret-file.js';

/** Where the secrets of TLS are. */
export interface TlsFiles {
  /** A folder with the names that libvirt, QEMU and nbdkit use. */
  readonly certificates?: string | undefined;
  /** A file of keys, as psktool writes it. */
  readonly psk?: string | undefined;
}

/** What TLS works with: PEM texts, and keys by user. Plain data, which can be sent to a thread. */
export interface TlsSettings {
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  /** Certificates that the authority has revoked. */
  readonly crl?: string;
  readonly psk: ReadonlyMap<string, Uint8Array>;
}

/** The names of the files in a folder of certificates. */
export const tlsFileNames = {
  ca: 'ca-cert.pem',
  crl: 'ca-crl.pem',
  server: { certificate: 'server-cert.pem', key: 'server-key.pem' },
  client: { certificate: 'client-cert.pem', key: 'client-key.pem' },
} as const;

const MAKE_THEM = 'tidemark tls init makes certificates, and tidemark doctor --tls checks them';

/** Reads what a server needs. At least one of `files` is given. @throws CodedError TLS_UNUSABLE */
export async function loadServerTls({ certificates, psk }: TlsFiles): Promise<TlsSettings> {
  const pems = certificates === undefined ? {} : await readCertificates(certificates, 'server', true);
  return usable({ ...pems, psk: psk === undefined ? new Map() : await readPskFile(psk) });
}

/**
 * Reads what a client needs. A folder without a certificate is enough for a server that asks for none. `username` chooses
 * a key; without it, the file must have one key. @throws CodedError TLS_UNUSABLE
 */
export async function loadClientTls({
  certificates,
  psk,
  username,
}: TlsFiles & { readonly username?: string | undefined }): Promise<TlsSettings> {
  const pems = certificates === undefined ? {} : await readCertificates(certificates, 'client', false);
  return usable({ ...pems, psk: psk === undefined ? new Map() : await chosenKey(psk, username) });
}

async function chosenKey(path: string, username: string | undefined): Promise<ReadonlyMap<string, Uint8Array>> {
  const keys = await readPskFile(path);
  const [user] = username === undefined && keys.size === 1 ? keys.keys() : [username];
  const key = user !== undefined && keys.get(user);
  if (user !== undefined && key) return new Map([[user, key]]);
  const what = user === undefined ? `the key file ${path} has ${keys.size} users` : `${path} has no key for "${user}"`;
  throw new CodedError('TLS_UNUSABLE', what, `choose one of its users: ${[...keys.keys()].join(', ')}`);
}

async function readCertificates(
  folder: string,
  role: 'server' | 'client',
  needsOwn: boolean,
): Promise<Omit<TlsSettings, 'psk'>> {
  const names = tlsFileNames[role];
  const ca = await readPublicFile(join(folder, tlsFileNames.ca));
  checkDates(join(folder, tlsFileNames.ca), ca);
  const crl = await ifPresent(readPublicFile(join(folder, tlsFileNames.crl)));
  if (crl !== undefined) await checkRevocations(join(folder, tlsFileNames.crl), crl);
  const reading = readPublicFile(join(folder, names.certificate));
  const certificate = needsOwn ? await reading : await ifPresent(reading);
  const trust = { ca, ...(crl !== undefined && { crl }) };
  if (certificate === undefined) return trust;
  const key = await readSecretFile(join(folder, names.key), 'replace the key and its certificate');
  checkDates(join(folder, names.certificate), certificate);
  checkPair(folder, names, { certificate, key });
  return { ...trust, certificate, key };
}

async function ifPresent(reading: Promise<string>): Promise<string | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (isMissing((error as Error).cause)) return undefined;
    throw error;
  }
}

function checkDates(path: string, pem: string): void {
  const { validFrom, validTo } = parse(path, () => new X509Certificate(pem));
  const hint = `renew it; ${MAKE_THEM}`;
  if (Date.parse(validTo) < Date.now()) throw new CodedError('TLS_UNUSABLE', `${path} expired on ${validTo}`, hint);
  if (Date.parse(validFrom) > Date.now()) {
    throw new CodedError('TLS_UNUSABLE', `${path} is not valid before ${validFrom}`, 'check the clock of this machine');
  }
}

/** OpenSSL refuses everybody when the list is out of date, so that is said before. */
async function checkRevocations(path: string, crl: string): Promise<void> {
  const until = await firstUpdateOf(crl).catch((cause: Error) => {
    throw new CodedError('TLS_UNUSABLE', `${path} cannot be used: ${cause.message}`, 'expected PEM', { cause });
  });
  if (until === undefined || until.getTime() > Date.now()) return;
  const what = `the revocation list ${path} was to be replaced by ${until.toISOString()}`;
  throw new CodedError(
    'TLS_UNUSABLE',
    what,
    'get the current list from the authority, or remove the file to check none',
  );
}

function checkPair(
  folder: string,
  names: { readonly certificate: string; readonly key: string },
  { certificate, key }: { readonly certificate: string; readonly key: string },
): void {
  const isPair = parse(join(folder, names.key), () =>
    new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key)),
  );
  if (isPair) return;
  const what = `the key ${names.key} in ${folder} does not belong to ${names.certificate}`;
  throw new CodedError('TLS_UNUSABLE', what, MAKE_THEM);
}

/** OpenSSL has the last word on what it can use. */
function usable(settings: TlsSettings): TlsSettings {
  const { ca, certificate, key, crl } = settings;
  parse('the certificates', () =>
    createSecureContext({ ca: ca ?? [], ...(certificate && { cert: certificate, key }), ...(crl && { crl }) }),
  );
  return settings;
}

function parse<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    const message = `${what} cannot be used: ${(cause as Error).message}`;
    throw new CodedError('TLS_UNUSABLE', message, `expected PEM; ${MAKE_THEM}`, { cause });
  }
}
