import { randomBytes } from 'node:crypto';
import type { FullReason } from '../api/backup.js';
import { timedId } from '../base/timed-id.js';
import type { Backup, BackupService, BeginRequest } from './backup-service.js';

export interface UriSource {
  readonly uri: string;
  /** A dirty bitmap of the export; undefined if every backup is full. */
  readonly context: string | undefined;
  /** The image that the bitmap counts from, as asserted by the user; undefined if unknown. */
  readonly since: string | undefined;
}

const RANDOM_BYTES = 2;
/** Long, because there is no lease on the server to renew. */
const TTL_SECONDS = 24 * 60 * 60;

/**
 * Backups of an export of any NBD server, which may offer a dirty bitmap like `qemu-nbd -B` does. No view is made and
 * no bitmap is switched: the user has to keep the disk unchanged, and to know what the bitmap counts from.
 */
export class UriBackupService implements BackupService {
  constructor(private readonly source: UriSource) {}

  async begin({ exports, full }: BeginRequest): Promise<Backup> {
    const { uri, context, since } = this.source;
    const fullReason = whyFull(this.source, full);
    const now = new Date();
    return {
      id: timedId(now, randomBytes(RANDOM_BYTES).toString('hex')),
      state: 'active',
      startedAt: now.toISOString(),
      ttlSeconds: TTL_SECONDS,
      exports: exports.map((name) => ({
        export: name,
        uri,
        context: context ?? '',
        mode: fullReason ? 'full' : 'incremental',
        base: fullReason ? null : since!,
        origin: { uri, context: context ?? null },
        ...(fullReason && { fullReason }),
      })),
    };
  }

  async renew(): Promise<void> {}

  async commit(): Promise<void> {}

  async abort(): Promise<void> {}

  /** A complete image counts as committed, because there is no server to ask. */
  async show(id: string): Promise<Backup> {
    return { id, state: 'committed', startedAt: '', ttlSeconds: TTL_SECONDS, exports: [] };
  }
}

/** Undefined if an increment since `since` is enough. */
function whyFull({ context, since }: UriSource, full: boolean): FullReason | undefined {
  if (full) return { code: 'asked-for', detail: 'a full backup was asked for' };
  if (context === undefined) return { code: 'no-context', detail: 'no --context says what changed' };
  if (since !== undefined) return undefined;
  const detail = `plain NBD does not tell which backup "${context}" counts from; if you know, say so with --since ID`;
  return { code: 'base-unknown', detail };
}
