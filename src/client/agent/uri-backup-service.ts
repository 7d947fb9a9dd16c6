import { randomBytes } from 'node:crypto';
import type { Backup, BackupService, BeginRequest } from './backup-service.js';
import { folderOf } from './export-folder.js';
import { readManifest } from './manifest.js';

export interface UriSource {
  readonly uri: string;
  /** A dirty bitmap of the export; undefined: everything is read, each time. */
  readonly context: string | undefined;
  /** Where the newest image is looked for: what the bitmap is taken to count from. */
  readonly directory: string;
  readonly exportName: string;
}

const RANDOM_BYTES = 2;
/** No server waits for a sign of life; the agent gives one at such intervals. */
const TTL_SECONDS = 24 * 60 * 60;

/**
 * Backups of an export of any NBD server that shows a dirty bitmap, such as `qemu-nbd -B`. It makes no view and switches
 * no bitmap: that the disk stands still, and what the bitmap counts from, is its owner's affair.
 */
export class UriBackupService implements BackupService {
  constructor(private readonly source: UriSource) {}

  async begin({ exports, full }: BeginRequest): Promise<Backup> {
    const { uri, context, directory, exportName } = this.source;
    const manifest = await readManifest(folderOf(directory, exportName));
    const base = manifest?.images.at(-1)?.id ?? null;
    const everything = full || context === undefined;
    const detail = full ? 'a full backup was asked for' : 'no --context says what changed';
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
        mode: everything ? 'full' : 'incremental',
        base: everything ? null : base,
        ...(everything && { fullReason: { code: full ? 'asked-for' : 'no-context', detail } }),
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

/** In UTC, and such that a later one sorts behind it. */
function newId(now: Date): string {
  const [date, time] = now.toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  return `${date}-${time}-${randomBytes(RANDOM_BYTES).toString('hex')}`;
}
