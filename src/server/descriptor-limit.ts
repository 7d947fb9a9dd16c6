import { readFile } from 'node:fs/promises';
import type { Log } from '../base/log.js';

/** Connections that the control API may take: as many on its unix socket, and as many on TCP (control/http-server.ts). */
const CONTROL_CONNECTIONS = 2 * 64;
/** The store, the log, listeners, what Node itself has open, and room for backups that begin. */
const RESERVED_FILES = 128;
/** The disk, and the scratch and clone of a backup. */
const FILES_OF_AN_EXPORT = 3;

/** How many files this process may have open, sockets included; undefined where that is not known. */
export async function openFilesLimit(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const found = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  return found === 'unlimited' ? Number.POSITIVE_INFINITY : found === undefined ? undefined : Number(found);
}

/** Says so when clients could take the descriptors that disks and backups need. */
export function checkOpenFiles(
  limit: number | undefined,
  { maxConnections, exports }: { maxConnections: number; exports: number },
  log: Log,
): void {
  const needed = maxConnections + CONTROL_CONNECTIONS + RESERVED_FILES + FILES_OF_AN_EXPORT * exports;
  if (limit === undefined || limit >= needed) return;
  log.warn(
    { limit, needed },
    'too few files may be open for all clients and disks: raise the limit (LimitNOFILE=, ulimit -n), or lower max-connections',
  );
}
