import type { ProgressReport, ReadInFull } from '../api/backup.js';
import type { HeldWrites } from '../api/transaction.js';
import { CodedError } from '../base/coded-error.js';
import { errnoName, OK } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import type { Export } from '../export/export.js';
import type { ExportRegistry } from '../export/registry.js';
import { type Backup, endedError } from './backup.js';
import { BackupEndings } from './backup-endings.js';
import { backupBegun, backupEnded, backupFilling, type PublishBackupEvent } from './backup-event.js';
import { type BackupRecord, newBackupId } from './backup-record.js';
import { beginBackup } from './begin-backup.js';
import { ExportClaims } from './export-claims.js';
import type { BeginRequest } from './make-backup.js';
import { RecordStore } from './record-store.js';
import type { ScratchDirectory } from './scratch-directory.js';
import { ScratchWatch } from './scratch-watch.js';

export interface BackupsOptions {
  readonly exports: ExportRegistry;
  readonly store: KeyValueStore | undefined;
  readonly scratch: ScratchDirectory;
  readonly log: Log;
  readonly publish: PublishBackupEvent;
}

/** The backups of a server: begins them, keeps their leases, ends them, and remembers ended ones for a while. */
export class Backups {
  private readonly active = new Map<string, Backup>();
  private readonly claims: ExportClaims;
  private readonly endings: BackupEndings;
  private readonly watch: ScratchWatch;
  private closing = false;

  private constructor(
    private readonly options: BackupsOptions,
    private readonly records: RecordStore,
  ) {
    const { exports, store, log, publish, scratch } = options;
    this.claims = new ExportClaims(exports);
    const ended = ({ id }: Backup) => void this.active.delete(id);
    this.endings = new BackupEndings({ exports, records, store, log, publish, ended });
    this.watch = new ScratchWatch(scratch, (backup, percent) => publish(backupFilling(backup.record(), percent)));
  }

  /** Marks backups that were active when the server last stopped as aborted. @throws CodedError STORE_UNUSABLE */
  static async open(options: BackupsOptions): Promise<Backups> {
    const { records, aborted } = await RecordStore.open(options.store);
    for (const record of aborted) options.publish(backupEnded(record));
    return new Backups(options, records);
  }

  /** All known backups, oldest first. */
  list(): BackupRecord[] {
    return this.records.list().map(({ id }) => this.get(id));
  }

  /** @throws CodedError BACKUP_NOT_FOUND */
  get(id: string): BackupRecord {
    return this.active.get(id)?.record() ?? this.records.find(id) ?? this.refuseUnknown(id);
  }

  /** @throws CodedError BACKUP_NOT_FOUND */
  refuseUnknown(id: string): never {
    throw new CodedError('BACKUP_NOT_FOUND', `there is no backup ${id}`, 'tidemark backup list shows them');
  }

  /** An active backup; undefined once it has ended. */
  running(id: string): Backup | undefined {
    return this.active.get(id);
  }

  /**
   * Begins a backup of one or more exports. @throws CodedError EXPORT_NOT_FOUND, BACKUP_INVALID, and as `beginBackup`
   */
  async begin(request: BeginRequest): Promise<{ record: BackupRecord; held: HeldWrites }> {
    if (this.closing) throw new CodedError('SHUTTING_DOWN', 'the server is stopping', 'begin again when it is back');
    const exports = this.claims.take(request.exports);
    const { backup, held } = await this.claims.hold(exports, this.beginOn(exports, request));
    const record = backup.record();
    this.options.publish(backupBegun(record, held));
    return { record, held };
  }

  /** `progress`: what the agent says of how far it has come. @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED, BACKUP_INVALID */
  renew(id: string, ttlSeconds?: number, progress: readonly ProgressReport[] = []): BackupRecord {
    const backup = this.assertActive(id, 'renewed');
    backup.assertNotFailed('renewed');
    backup.noteProgress(progress);
    backup.lease.renew(ttlSeconds);
    return backup.record();
  }

  /**
   * Frees the scratch space of a range that the agent no longer needs. @throws CodedError BACKUP_NOT_FOUND,
   * BACKUP_ENDED, BACKUP_INVALID, SCRATCH_UNUSABLE
   */
  async release(id: string, exportName: string, offset: number, length: number): Promise<BackupRecord> {
    const backup = this.assertActive(id, 'changed');
    backup.assertNotFailed('changed');
    const { source, view } = backup.part(exportName);
    if (offset + length > view.sizeBytes) {
      throw new CodedError('BACKUP_INVALID', `the range extends beyond the end of ${view.name}`, 'check its size');
    }
    backup.lease.renew();
    const errno = await source.release(offset, length);
    if (errno === OK) return backup.record();
    throw new CodedError(
      'SCRATCH_UNUSABLE',
      `the scratch space of ${view.name} could not be freed: ${errnoName(errno)}`,
      'check the disk of the scratch directory; ending the backup frees all of it',
    );
  }

  /**
   * Commits a backup: the successors replace the frozen bits, and this backup becomes the base of each bitmap.
   * `readInFull` and `by`, who asks, go into the record. A repeated call returns the same. @throws CodedError BACKUP_NOT_FOUND,
   * BACKUP_ENDED, BACKUP_INVALID, STORE_UNUSABLE, STORE_IN_DOUBT
   */
  async commit(id: string, readInFull: readonly ReadInFull[] = [], by?: string): Promise<BackupRecord> {
    const backup = this.active.get(id);
    if (backup) await this.endings.commit(backup, readInFull, by);
    const record = this.get(id);
    if (record.state !== 'committed') throw endedError(record, 'committed');
    return record;
  }

  /**
   * Aborts a backup: the bitmaps again cover everything written since their bases. A repeated call returns the same.
   * `why` is shown to users, and `by` says who asks. @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED when it was committed, STORE_UNUSABLE,
   * STORE_IN_DOUBT
   */
  async abort(id: string, why?: string, by?: string): Promise<BackupRecord> {
    const backup = this.active.get(id);
    const detail = `it was aborted by its agent${why === undefined ? '' : `: ${why}`}`;
    if (backup) await this.endings.abort(backup, { reason: 'asked', detail, by });
    const record = this.get(id);
    if (record.state !== 'aborted') throw endedError(record, 'aborted');
    return record;
  }

  /**
   * Prepares the removal of an export, for which `by` asks: aborts its backups, and lets none begin until the returned
   * function is called.
   * @throws CodedError EXPORT_IN_USE when there are backups and `force` is false
   */
  async leave(exportName: string, force: boolean, by?: string): Promise<() => void> {
    const stay = await this.claims.leave(exportName);
    try {
      const using = [...this.active.values()].filter(({ exports }) => exports.some(({ name }) => name === exportName));
      if (using.length > 0 && !force) {
        throw new CodedError(
          'EXPORT_IN_USE',
          `backup ${using.map(({ id }) => id).join(', ')} is under way on "${exportName}"`,
          'wait for it, abort it, or remove the export with --force',
        );
      }
      const detail = `the export "${exportName}" was removed`;
      for (const backup of using) await this.endings.abort(backup, { reason: 'export-removed', detail, by });
      return stay;
    } catch (error) {
      stay();
      throw error;
    }
  }

  /** Called once a second: checks the leases, and aborts backups that must end. */
  async tick(): Promise<void> {
    const active = [...this.active.values()];
    for (const backup of active) backup.tick();
    const failed = active.filter(({ failure }) => failure !== undefined);
    // In parallel, so that a backup whose disk hangs does not keep others frozen.
    await Promise.all([this.watch.tick(active), ...failed.map((backup) => this.endings.abortFailed(backup))]);
  }

  /** Aborts all active backups. The exports must still be open. */
  async close(): Promise<void> {
    this.closing = true;
    await this.claims.settled();
    for (const backup of [...this.active.values()]) {
      await this.endings
        .abort(backup, { reason: 'server-stopped', detail: 'the server was stopped' })
        .catch((err: unknown) =>
          this.options.log.error(
            { err, backup: backup.id },
            'a backup could not be aborted; the next start will abort it',
          ),
        );
    }
    await this.endings.settled();
  }

  private newId(): string {
    for (;;) {
      const id = newBackupId(new Date());
      if (!this.active.has(id) && !this.records.find(id)) return id;
    }
  }

  private async beginOn(
    exports: readonly Export[],
    request: BeginRequest,
  ): Promise<{ backup: Backup; held: HeldWrites }> {
    const { records, options } = this;
    const begun = await beginBackup({ id: this.newId(), request, exports, scratch: options.scratch, records });
    const { backup } = begun;
    records.hold(backup.record());
    this.active.set(backup.id, backup);
    for (const part of backup.parts) {
      options.exports.addView(part.view);
      void part.broken?.then(() => this.broke(backup));
    }
    return begun;
  }

  private broke(backup: Backup): void {
    backup.noticeFailures();
    void this.endings.abortFailed(backup);
  }

  private assertActive(id: string, what: string): Backup {
    const running = this.active.get(id);
    if (running) return running;
    throw endedError(this.get(id), what);
  }
}
