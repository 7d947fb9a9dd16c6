import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CertificateMaker, type Issued } from '../test/support/certificate-maker.js';
import type { CommandLine } from './program.js';

/** What servers and clients need for TLS. */
export interface Credentials {
  /** The folder of a server's certificates, with the names that all servers use. */
  readonly serverFolder: string;
  /** The home of the user who runs fio, where libnbd finds its certificates: fio allows no files in a URI. */
  readonly home: string;
  /** Leaves GnuTLS one suite, so that every server encrypts in the same way. */
  readonly priorities: string;
}

const ONE_SUITE = `[overrides]
${['AES-256-GCM', 'AES-256-CCM', 'AES-128-CCM', 'CHACHA20-POLY1305'].map((name) => `tls-disabled-cipher = ${name}\n`).join('')}`;

/** The suite that `ONE_SUITE` leaves. */
export const SUITE = 'TLS_AES_128_GCM_SHA256';

/** Makes them in a folder. */
export async function makeCredentials(folder: string): Promise<Credentials> {
  const maker = await CertificateMaker.create('bench');
  const [serverFolder, home] = [join(folder, 'server'), join(folder, 'home')];
  const server = await maker.issue({ subject: 'CN=localhost', purpose: 'server' });
  const client = await maker.issue({ subject: 'CN=fio', purpose: 'client' });
  await writeFiles(serverFolder, maker, 'server', server);
  await writeFiles(join(home, '.pki', 'libnbd'), maker, 'client', client);
  const priorities = join(folder, 'gnutls.conf');
  await writeFile(priorities, ONE_SUITE);
  return { serverFolder, home, priorities };
}

/** The same program, with these certificates. */
export function withCredentials({ home, priorities }: Credentials, commandLine: CommandLine): CommandLine {
  // For root, libnbd looks in /etc and nowhere else.
  const asOrdinary = process.getuid?.() === 0 ? ['unshare', '--user', '--map-user=1000'] : [];
  return ['env', `HOME=${home}`, `GNUTLS_SYSTEM_PRIORITY_FILE=${priorities}`, ...asOrdinary, ...commandLine];
}

async function writeFiles(
  folder: string,
  { certificate: authority }: CertificateMaker,
  role: 'server' | 'client',
  { certificate, key }: Issued,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'ca-cert.pem'), authority);
  await writeFile(join(folder, `${role}-cert.pem`), certificate);
  await writeFile(join(folder, `${role}-key.pem`), key, { mode: 0o600 });
}
