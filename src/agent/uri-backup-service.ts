import { randomBytes } from 'node:crypto';
import type { Backup, BackupService, BeginRequest } from './backup-service.js';
import type { FullReason } from './manifest-format.js';

export interface UriSource {
  readonly uri: string;
  /** A dirty bitmap of the export; undefined: everything is read, each time. */
  readonly context: string | undefined;
  /** The image that the bitmap counts from, as its owner says; undefined: nobody knows. */
  readonly since: string | undefined;
}

const RANDOM_BYTES = 2;
/** No server waits for a sign of life; the agent gives one at such intervals. */
const TTL_SECONDS = 24 * 60 * 60;

/**
 * Backups of an export of any NBD server that shows a dirty bitmap, such as `qemu-nbd -B`. It makes no view and switches
 * no bitmap: that the disk stands still, and what the bitmap counts from, only its owner knows.
 */
export class UriBackupService implements BackupService {
  constructor(private readonly source: UriSource) {}

  async begin({ exports, full }: BeginRequest): Promise<Backup> {
    const { uri, context, since } = this.source;
    const fullReason = whyFull(this.source, full);
    const now = new Date();
    return {
      id: newId(now),
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

  /** An image that was complete is as good as committed: nobody else has to agree. */
  async show(id: string): Promise<Backup> {
    return { id, state: 'committed', startedAt: '', ttlSeconds: TTL_SECONDS, exports: [] };
  }
}

/** Undefined when what changed since `since` will do. */
function whyFull({ context, since }: UriSource, full: boolean): FullReason | undefined {
  if (full) return { code: 'asked-for', detail: 'a full backup was asked for' };
  if (context === undefined) return { code: 'no-context', detail: 'no --context says what changed' };
  if (since !== undefined) return undefined;
  const detail = `plain NBD does not tell which backup "${context}" counts from; if you know, say so with --since ID`;
  return { code: 'base-unknown', detail };
}

/** In UTC, and such that a later one sorts behind it. */
function newId(now: Date): string {
  const [date, time] = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  return `${date}-${time}-${randomBytes(RANDOM_BYTES).toString('hex')}`;
}
