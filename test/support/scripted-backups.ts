import type {
  Backup,
  BackupPart,
  BackupService,
  BeginRequest,
  ProgressReport,
} from '../../src/agent/backup-service.js';

/** A backup service that answers as a test tells it, and keeps track of bases itself. */
export class ScriptedBackups implements BackupService {
  /** The calls, with the IDs. */
  readonly calls: string[] = [];
  readonly backups = new Map<string, Backup>();
  /** The base of the bitmap of every export. */
  base: string | null = null;
  /** Called before and after a commit takes effect. Either may throw. */
  beforeCommit: () => void | Promise<void> = () => {};
  afterCommit: () => void = () => {};
  ttlSeconds: number | undefined;
  /** What pulls said of how far they came. */
  readonly progress: ProgressReport[] = [];
  onRenew: () => void = () => {};
  private count = 0;

  constructor(private readonly uriOf: (exportName: string) => string) {}

  async begin({ exports, full, ttlSeconds }: BeginRequest): Promise<Backup> {
    const id = `20261123-00000${++this.count}-test`;
    const everything = full || this.base === null;
    const backup: Backup = {
      id,
      state: 'active',
      startedAt: new Date().toISOString(),
      accepts: ['progress'],
      ttlSeconds: this.ttlSeconds ?? ttlSeconds,
      exports: exports.map(
        (name): BackupPart => ({
          export: name,
          uri: this.uriOf(name),
          context: 'qemu:dirty-bitmap:nightly',
          mode: everything ? 'full' : 'incremental',
          base: everything ? null : this.base,
          ...(everything && { fullReason: { code: 'no-base', detail: 'no base' } }),
        }),
      ),
    };
    this.backups.set(id, backup);
    this.calls.push(`begin ${id}`);
    return backup;
  }

  async renew(id: string, progress: readonly ProgressReport[] = []): Promise<void> {
    this.calls.push(`renew ${id}`);
    this.progress.push(...progress);
    this.onRenew();
  }

  async commit(id: string): Promise<void> {
    this.calls.push(`commit ${id}`);
    await this.beforeCommit();
    this.end(id, { state: 'committed' });
    this.base = id;
    this.afterCommit();
  }

  async abort(id: string): Promise<void> {
    this.calls.push(`abort ${id}`);
    this.end(id, { state: 'aborted', endReason: 'asked' });
  }

  async show(id: string): Promise<Backup | undefined> {
    this.calls.push(`show ${id}`);
    return this.backups.get(id);
  }

  end(id: string, change: Partial<Backup>): void {
    this.backups.set(id, { ...this.backups.get(id)!, ...change });
  }
}
