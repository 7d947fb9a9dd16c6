import { readFile } from 'node:fs/promises';
import type { Log } from '../base/log.js';

/** The connection limit of the control API (control/http-server.ts), for its unix socket and for TCP. */
const CONTROL_CONNECTIONS = 2 * 64;
/** For the store, the log, listeners, files that Node itself opens, and backups that begin. */
const RESERVED_FILES = 128;
/** The disk, and the scratch and clone of a backup. */
const FILES_OF_AN_EXPORT = 3;

/** How many files this process may have open, sockets included. Undefined if the limit is unknown. */
export async function openFilesLimit(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const found = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  return found === 'unlimited' ? Number.POSITIVE_INFINITY : found === undefined ? undefined : Number(found);
}

/** Logs a warning if clients could use up the descriptors that disks and backups need. */
export function checkOpenFiles(
  limit: number | undefined,
  { maxConnections, exports }: { maxConnections: number; exports: number },
  log: Log,
): void {
  const needed = maxConnections + CONTROL_CONNECTIONS + RESERVED_FILES + FILES_OF_AN_EXPORT * exports;
  if (limit === undefined || limit >= needed) return;
  log.warn(
    { limit, needed },
    'the limit on open files is too low for all clients and disks: raise it (LimitNOFILE=, ulimit -n), or lower max-connections',
  );
}
