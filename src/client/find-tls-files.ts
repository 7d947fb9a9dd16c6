import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type TlsFiles, tlsFileNames } from '../tls/tls-settings.js';
import { NbdTlsError } from './errors.js';
import type { TlsWish } from './tls-wish.js';

/** Certificates and keys for URIs that name none. */
export type TlsDefaults = TlsFiles;

/** The folders where libnbd looks for certificates too. */
function usualFolders(): string[] {
  if (process.getuid?.() === 0) return ['/etc/pki/libnbd'];
  return [join(homedir(), '.pki/libnbd'), join(homedir(), '.config/pki/libnbd')];
}

/**
 * The certificates or the keys to use: those in the URI, else the defaults, else the certificates in a usual folder, else
 * none, which leaves the authorities of the system. @throws NbdTlsError
 */
export async function findTlsFiles(wish: TlsWish, defaults: TlsDefaults): Promise<TlsFiles> {
  const { type } = wish;
  if (wish.pskFile !== undefined) return { psk: wish.pskFile };
  if (wish.certificates !== undefined) return { certificates: wish.certificates };
  if (type !== 'x509' && defaults.psk !== undefined) return { psk: defaults.psk };
  if (type === 'psk') {
    throw new NbdTlsError('the URI asks for TLS with keys, and there are none', 'give them with --tls-psk FILE');
  }
  if (defaults.certificates !== undefined) return { certificates: defaults.certificates };
  for (const folder of usualFolders()) {
    if (await stat(join(folder, tlsFileNames.ca)).catch(() => undefined)) return { certificates: folder };
  }
  return {};
}
