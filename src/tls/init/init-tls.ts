import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname, join } from 'node:path';
import { CodedError } from '../../base/coded-error.js';
import { replaceFile } from '../../posix/replacement.js';
import { readPskFile } from '../psk-file.js';
import { readPublicFile, readSecretFile } from '../secret-file.js';
import { tlsFileNames } from '../tls-settings.js';
import { Authority, type Issued } from './authority.js';

export interface InitRequest {
  readonly directory: string;
  /** Names and addresses by which clients reach the server. Empty to make nothing for a server. */
  readonly hosts: readonly string[];
  /** Names of clients with certificates. */
  readonly clients: readonly string[];
  /** Names of clients with keys. */
  readonly users: readonly string[];
  /** How long the certificates of servers and clients are valid. */
  readonly days: number;
}

/** Paths of what was made. */
export interface InitResult {
  /** Undefined if there was one already, or none is needed. */
  readonly authority?: string;
  readonly server?: string;
  readonly clients: readonly { readonly name: string; readonly path: string }[];
  readonly keys?: string;
}

/** What a client may be called: it becomes the name of a folder, a rule names it, and a PSK file has it before a colon. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$/;
const HOST = /^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?$/;
const KEY_BYTES = 32;
const CA_KEY = 'ca-key.pem';

/** New files by their path, each with its content. */
type NewFiles = Map<string, string>;

/**
 * Makes an authority, or uses the one in the directory, and certificates and keys beside it: one folder for each
 * machine. Replaces nothing. @throws CodedError USAGE_INVALID, TLS_UNUSABLE
 */
export async function initTls(request: InitRequest): Promise<InitResult> {
  const { directory, hosts, clients, users, days } = request;
  for (const name of [...clients, ...users]) checkName(name);
  for (const host of hosts) checkHost(host);
  const files: NewFiles = new Map();
  const needsAuthority = hosts.length + clients.length > 0;
  const made = needsAuthority ? await findAuthority(join(directory, 'ca'), files) : undefined;
  const folders: { name: string; path: string }[] = [];
  const server = join(directory, 'server');
  if (made) {
    const { authority } = made;
    if (hosts.length > 0) {
      const issued = await authority.issue({ commonName: hosts[0]!, purpose: 'server', hosts, days });
      addFolder(files, server, authority, 'server', issued);
    }
    for (const name of clients) {
      const path = join(directory, 'clients', name);
      const issued = await authority.issue({ commonName: name, purpose: 'client', hosts: [], days });
      addFolder(files, path, authority, 'client', issued);
      folders.push({ name, path });
    }
  }
  const keys = join(directory, 'keys.psk');
  const keyText = users.length > 0 ? await keysWith(keys, users) : undefined;
  await writeAll(files);
  if (keyText !== undefined) await writeKeys(keys, keyText);
  return {
    ...(made?.isNew && { authority: join(directory, 'ca') }),
    ...(hosts.length > 0 && { server }),
    clients: folders,
    ...(keyText !== undefined && { keys }),
  };
}

function checkName(name: string): void {
  if (NAME.test(name)) return;
  const hint = 'use up to 64 letters, digits, dots, hyphens, underscores and @';
  throw new CodedError('USAGE_INVALID', `"${name}" is not a name for a client`, hint);
}

function checkHost(host: string): void {
  if (HOST.test(host) || isIP(host) !== 0) return;
  const hint = 'give a name or an address without a port, such as backup.example or 10.0.0.7';
  throw new CodedError('USAGE_INVALID', `"${host}" is not the name or the address of a machine`, hint);
}

async function findAuthority(folder: string, files: NewFiles): Promise<{ authority: Authority; isNew: boolean }> {
  const [certificatePath, keyPath] = [join(folder, tlsFileNames.ca), join(folder, CA_KEY)];
  if (await exists(certificatePath)) {
    const certificate = await readPublicFile(certificatePath);
    const key = await readSecretFile(keyPath, 'make a new authority, because others may have read the key');
    return { authority: await Authority.load({ certificate, key }), isNew: false };
  }
  const authority = await Authority.create();
  files.set(keyPath, await authority.exportKey());
  files.set(certificatePath, authority.certificate);
  return { authority, isNew: true };
}

function addFolder(
  files: NewFiles,
  folder: string,
  authority: Authority,
  role: 'server' | 'client',
  issued: Issued,
): void {
  files.set(join(folder, tlsFileNames.ca), authority.certificate);
  files.set(join(folder, tlsFileNames[role].key), issued.key);
  files.set(join(folder, tlsFileNames[role].certificate), issued.certificate);
}

/** The text of the file of keys with a new key for each user. */
async function keysWith(path: string, users: readonly string[]): Promise<string> {
  const isThere = await exists(path);
  const known = isThere ? await readPskFile(path) : new Map<string, Uint8Array>();
  const taken = users.find((user) => known.has(user));
  if (taken !== undefined) throw thereAlready(`a key for "${taken}" in ${path}`);
  const before = isThere ? await readFile(path, 'utf8') : '';
  const lines = users.map((user) => `${user}:${randomBytes(KEY_BYTES).toString('hex')}\n`);
  return `${before}${before === '' || before.endsWith('\n') ? '' : '\n'}${lines.join('')}`;
}

/** Checks everything before it writes anything. Private keys, and the folders, are for their owner alone. */
async function writeAll(files: NewFiles): Promise<void> {
  for (const path of files.keys()) if (await exists(path)) throw thereAlready(path);
  await failing(async () => {
    for (const [path, content] of files) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeFile(path, content, { flag: 'wx', mode: path.endsWith('-key.pem') ? 0o600 : 0o644 });
    }
  });
}

async function writeKeys(path: string, text: string): Promise<void> {
  await failing(async () => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, text);
  });
}

async function failing(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    throw new CodedError('TLS_UNUSABLE', `cannot write: ${(cause as Error).message}`, 'give another folder', { cause });
  }
}

function thereAlready(what: string): CodedError {
  return new CodedError(
    'TLS_UNUSABLE',
    `there is already ${what}`,
    'nothing is replaced: remove it first, if nobody uses it',
  );
}

async function exists(path: string): Promise<boolean> {
  return (await lstat(path).catch(() => undefined)) !== undefined;
}
