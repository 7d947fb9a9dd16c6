import { CodedError } from '../base/coded-error.js';
import { ENOSPC, type Errno, errnoName } from '../base/errno.js';
import type { Log } from '../base/log.js';
import type { Undo } from '../bitmap/bitmap-set.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { changeAtOneInstant, type HeldWrites } from '../export/cut.js';
import type { Export } from '../export/export.js';
import type { ExportRegistry } from '../export/registry.js';
import type { BlockDevice } from '../storage/block-device.js';
import type { Backup, BackupPart } from './backup.js';
import { newBackupId } from './backup-id.js';
import type { AbortReason, BackupRecord, EndOfBackup } from './backup-record.js';
import { type BeginRequest, beginBackup } from './begin-backup.js';
import { RecordStore } from './record-store.js';
import type { ScratchDirectory } from './scratch-directory.js';
import { ScratchWatch } from './scratch-watch.js';

/** What happens to backups, for whoever follows. */
export interface BackupEvent {
  readonly type: `backup-${'begun' | 'committed' | 'aborted' | 'scratch-filling'}`;
  readonly backup: string;
  readonly bitmap: string;
  readonly exports: readonly string[];
  /** How it ended, when it was aborted. */
  readonly reason?: AbortReason;
  /** How full the scratch is. */
  readonly percent?: number;
}

export interface BackupsOptions {
  readonly exports: ExportRegistry;
  readonly store: KeyValueStore | undefined;
  readonly scratch: ScratchDirectory;
  readonly log: Log;
  readonly publish: (event: BackupEvent) => void;
}

/** The backups of a server: begun, held by their leases, committed or aborted, and remembered for a while. */
export class Backups {
  private readonly active = new Map<string, Backup>();
  /** Exports that are being removed: no backup of them begins. */
  private readonly leaving = new Set<string>();
  /** How many backups of an export are being begun. */
  private readonly beginning = new Map<string, Promise<unknown>>();
  private readonly uncloneable = new WeakSet<Export>();
  /** Attempts to abort those that can only be aborted. */
  private readonly aborting = new Map<Backup, Promise<void>>();
  /** Views of ended backups that still have clients. */
  private readonly releasing = new Set<Promise<void>>();
  private readonly watch: ScratchWatch;
  private closing = false;

  private constructor(
    private readonly options: BackupsOptions,
    private readonly records: RecordStore,
  ) {
    this.watch = new ScratchWatch(options.scratch, (backup, percent) =>
      this.publish(backup, { type: 'backup-scratch-filling', percent }),
    );
  }

  /** Those that were active when the last server ended are aborted. @throws CodedError STORE_UNUSABLE */
  static async open(options: BackupsOptions): Promise<Backups> {
    return new Backups(options, await RecordStore.open(options.store));
  }

  /** Every backup that is known, oldest first. */
  list(): BackupRecord[] {
    return this.records.list().map(({ id }) => this.get(id));
  }

  /** @throws CodedError BACKUP_NOT_FOUND */
  get(id: string): BackupRecord {
    const record = this.active.get(id)?.record() ?? this.records.find(id);
    if (record) return record;
    throw new CodedError('BACKUP_NOT_FOUND', `there is no backup ${id}`, 'tidemark backup list shows them');
  }

  /** What is running of a backup; undefined once it has ended. */
  running(id: string): Backup | undefined {
    return this.active.get(id);
  }

  /**
   * Begins a backup of one or more exports. @throws CodedError EXPORT_NOT_FOUND, BACKUP_INVALID, and as `beginBackup`
   */
  async begin(request: BeginRequest): Promise<{ record: BackupRecord; held: HeldWrites }> {
    const exports = this.take(request.exports);
    const id = this.newId();
    const begun = beginBackup(id, request, exports, {
      openScratch: (sizeBytes) => this.options.scratch.open(sizeBytes),
      clone: (served) => this.clone(served),
      register: (backup) => this.register(backup),
      record: (backup) => this.records.changes(backup.record()),
      broken: (broken, exportName, errno) => this.broke(broken, exportName, errno),
    });
    const done = this.note(exports, begun);
    const { backup, held } = await begun.finally(done);
    this.records.hold(backup.record());
    const { parts } = backup.record();
    this.options.log.info(
      { backup: id, exports: request.exports, modes: parts.map(({ mode }) => mode), heldWrites: held },
      'a backup has begun',
    );
    this.publish(backup, { type: 'backup-begun' });
    return { record: backup.record(), held };
  }

  /** @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED */
  renew(id: string, ttlSeconds?: number): BackupRecord {
    const backup = this.mustGoOn(id, 'renewed');
    backup.lease.renew(ttlSeconds);
    return backup.record();
  }

  /** The range of a view is needed no more. @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED, BACKUP_INVALID */
  async release(id: string, exportName: string, offset: number, length: number): Promise<BackupRecord> {
    const backup = this.mustGoOn(id, 'changed');
    const { snapshot, view } = backup.part(exportName);
    if (offset + length > view.sizeBytes) {
      throw new CodedError('BACKUP_INVALID', `the range reaches behind the end of ${view.name}`, 'see its size');
    }
    backup.lease.renew();
    await snapshot.release(offset, length);
    return backup.record();
  }

  /**
   * The agent has all it needs: the successors take over, and this backup is the base of each bitmap. Asked again, the
   * answer is the same. @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED, STORE_UNUSABLE, STORE_IN_DOUBT
   */
  async commit(id: string): Promise<BackupRecord> {
    const known = this.get(id);
    if (known.state === 'committed') return known;
    const backup = this.mustRun(id, 'committed');
    return await backup.endings.pass(async () => {
      if (!backup.active) return this.committedOrThrow(id);
      this.mustGoOn(id, 'committed');
      const end = { state: 'committed', endedAt: new Date().toISOString() } as const;
      await this.end(backup, end, ({ served }) => served.bitmaps.abdicate(backup.bitmap, id));
      this.publish(backup, { type: 'backup-committed' });
      return this.get(id);
    });
  }

  /**
   * Gives up: the bitmaps again describe all that was written since their bases. Asked again, the answer is the same.
   * @throws CodedError BACKUP_NOT_FOUND, BACKUP_ENDED when it was committed, STORE_UNUSABLE, STORE_IN_DOUBT
   */
  async abort(
    id: string,
    reason: AbortReason = 'asked',
    detail = 'it was aborted by its agent',
  ): Promise<BackupRecord> {
    const known = this.get(id);
    if (known.state === 'aborted') return known;
    const backup = this.mustRun(id, 'aborted');
    return await backup.endings.pass(async () => {
      const now = this.get(id);
      if (now.state === 'committed') throw ended(now, 'aborted');
      if (now.state === 'active') await this.abortNow(backup, reason, detail);
      return this.get(id);
    });
  }

  /**
   * An export is to be removed: none of its backups goes on, and none begins until the function returned is called.
   * @throws CodedError EXPORT_IN_USE when there is one, and it must not be aborted
   */
  async leave(exportName: string, force: boolean): Promise<() => void> {
    this.leaving.add(exportName);
    const stay = () => void this.leaving.delete(exportName);
    try {
      await this.beginning.get(exportName)?.catch(() => {});
      const using = [...this.active.values()].filter(({ exports }) => exports.some(({ name }) => name === exportName));
      if (using.length > 0 && !force) {
        throw new CodedError(
          'EXPORT_IN_USE',
          `backup ${using.map(({ id }) => id).join(', ')} is under way on "${exportName}"`,
          'wait for it, abort it, or remove the export with --force',
        );
      }
      for (const backup of using) {
        await this.abortIfActive(backup, 'export-removed', `the export "${exportName}" was removed`);
      }
      return stay;
    } catch (error) {
      stay();
      throw error;
    }
  }

  /** One turn of the clock, once a second: leases end, and what must end is ended. */
  async tick(): Promise<void> {
    const active = [...this.active.values()];
    for (const backup of active) {
      backup.noticeReads();
      if (backup.lease.expired) this.doom(backup, 'expired', `its lease of ${backup.lease.ttlSeconds} s ran out`);
      this.noticeLostBitmap(backup);
    }
    const doomed = active.filter(({ doom }) => doom !== undefined);
    // Side by side: one whose disk hangs keeps no other frozen.
    await Promise.all([this.watch.look(active), ...doomed.map((backup) => this.abortDoomed(backup))]);
  }

  /** Aborts what is under way. The exports must still be open. */
  async close(): Promise<void> {
    this.closing = true;
    await Promise.allSettled(this.beginning.values());
    for (const backup of [...this.active.values()]) {
      await this.abort(backup.id, 'server-stopped', 'the server was stopped').catch((err: unknown) =>
        this.options.log.error({ err, backup: backup.id }, 'a backup could not be aborted; the next start does it'),
      );
    }
    await Promise.allSettled(this.releasing);
  }

  private take(names: readonly string[]): Export[] {
    if (this.closing) throw new CodedError('SHUTTING_DOWN', 'the server is stopping', 'begin again when it is back');
    if (new Set(names).size < names.length) {
      throw new CodedError('BACKUP_INVALID', 'an export is named twice', 'name each export once');
    }
    return names.map((name) => {
      const served = this.options.exports.get(name);
      if (!this.leaving.has(name)) return served;
      throw new CodedError('EXPORT_NOT_FOUND', `the export "${name}" is being removed`, 'add it again first');
    });
  }

  /** Writes wait while it is tried, so an export whose image cannot be cloned is not asked again. */
  private async clone(served: Export): Promise<BlockDevice | undefined> {
    if (this.uncloneable.has(served)) return undefined;
    const clone = await this.options.scratch.clone(served.path, served.sizeBytes);
    if (!clone) this.uncloneable.add(served);
    return clone;
  }

  private newId(): string {
    for (;;) {
      const id = newBackupId(new Date());
      if (!this.active.has(id) && !this.records.find(id)) return id;
    }
  }

  /** Remembers that a backup of these is being begun; returns what forgets it. */
  private note(exports: readonly Export[], begun: Promise<unknown>): () => void {
    const before = exports.map(({ name }) => this.beginning.get(name));
    const all = Promise.allSettled([...before, begun]);
    for (const { name } of exports) this.beginning.set(name, all);
    return () => {
      for (const { name } of exports) if (this.beginning.get(name) === all) this.beginning.delete(name);
    };
  }

  private register(backup: Backup): Undo {
    this.active.set(backup.id, backup);
    for (const { view } of backup.parts) this.options.exports.addView(view);
    return () => {
      this.active.delete(backup.id);
      for (const { view } of backup.parts) void this.options.exports.removeView(view);
    };
  }

  private broke(id: string, exportName: string, errno: Errno): void {
    const backup = this.active.get(id);
    if (!backup) return;
    const cause =
      errno === ENOSPC
        ? `the old data of "${exportName}" finds no more room: raise --scratch-limit or give the scratch directory more`
        : `the old data of "${exportName}" could not be kept: ${errnoName(errno)}`;
    this.doom(backup, errno === ENOSPC ? 'scratch-full' : 'scratch-failed', cause);
    void this.abortDoomed(backup);
  }

  private noticeLostBitmap(backup: Backup): void {
    if (!backup.bitmapLost) return;
    this.doom(backup, 'bitmap-inconsistent', 'a write could not be recorded, so its bitmap is inconsistent');
  }

  private doom(backup: Backup, reason: AbortReason, detail: string): void {
    backup.doom ??= { reason, detail };
  }

  /** One attempt at a time. */
  private abortDoomed(backup: Backup): Promise<void> {
    const underWay = this.aborting.get(backup);
    if (underWay) return underWay;
    const attempt = this.tryToAbort(backup).finally(() => this.aborting.delete(backup));
    this.aborting.set(backup, attempt);
    return attempt;
  }

  private async tryToAbort(backup: Backup): Promise<void> {
    const { reason, detail } = backup.doom!;
    try {
      await this.abortIfActive(backup, reason, detail);
    } catch (err) {
      this.options.log.error({ err, backup: backup.id }, 'a backup could not be aborted; it is tried again');
    }
  }

  private abortIfActive(backup: Backup, reason: AbortReason, detail: string): Promise<void> {
    return backup.endings.pass(async () => {
      if (backup.active) await this.abortNow(backup, reason, detail);
    });
  }

  private async abortNow(backup: Backup, reason: AbortReason, detail: string): Promise<void> {
    const end = { state: 'aborted', endedAt: new Date().toISOString(), endReason: reason, endDetail: detail } as const;
    await this.end(backup, end, ({ served: { bitmaps }, bitmap }) => {
      // Inconsistent, and then removed or begun anew: what has its name now is none of this backup's.
      if (bitmap.removed) return () => {};
      if (bitmap.provisional) return bitmaps.withdraw(bitmap.name);
      return bitmap.busy ? bitmaps.reclaim(bitmap.name) : () => {};
    });
    this.options.log.warn({ backup: backup.id, reason, detail }, 'a backup was aborted');
    this.publish(backup, { type: 'backup-aborted', reason });
  }

  /** Changes every bitmap and the record together, then lets go of the views. */
  private async end(backup: Backup, end: EndOfBackup, change: (part: BackupPart) => Undo): Promise<void> {
    await changeAtOneInstant(backup.exports, {
      cleansNothing: true,
      apply: () => changeAll(backup.parts, change),
      records: () => this.records.changes(backup.record(end)),
    });
    backup.ended(end);
    this.records.hold(backup.record());
    this.active.delete(backup.id);
    this.letGo(backup);
  }

  /** Nobody waits for it: clients of the views may take their time. */
  private letGo(backup: Backup): void {
    const gone = backup.release((view) => this.options.exports.removeView(view));
    this.releasing.add(gone);
    void gone
      .catch((err: unknown) => this.options.log.error({ err, backup: backup.id }, 'scratch could not be closed'))
      .finally(() => this.releasing.delete(gone));
  }

  private mustRun(id: string, what: string): Backup {
    const running = this.active.get(id);
    if (running) return running;
    throw ended(this.get(id), what);
  }

  /** As `mustRun`, and it is not about to be aborted. */
  private mustGoOn(id: string, what: string): Backup {
    const backup = this.mustRun(id, what);
    this.noticeLostBitmap(backup);
    if (backup.doom) throw endedError(id, backup.doom.reason, backup.doom.detail, what);
    return backup;
  }

  private committedOrThrow(id: string): BackupRecord {
    const record = this.get(id);
    if (record.state === 'committed') return record;
    throw ended(record, 'committed');
  }

  private publish(backup: Backup, event: Pick<BackupEvent, 'type' | 'reason' | 'percent'>): void {
    const { id, bitmap, exports } = backup;
    this.options.publish({ ...event, backup: id, bitmap, exports: exports.map(({ name }) => name) });
  }
}

/** All or none. */
function changeAll(parts: readonly BackupPart[], change: (part: BackupPart) => Undo): Undo {
  const undos: Undo[] = [];
  const undo = () => {
    for (const one of undos.splice(0).reverse()) one();
  };
  try {
    for (const part of parts) undos.push(change(part));
    return undo;
  } catch (error) {
    undo();
    throw error;
  }
}

function ended({ id, state, endReason, endDetail = '' }: BackupRecord, what: string): CodedError {
  return endedError(id, state === 'committed' ? 'committed' : endReason!, endDetail, what);
}

function endedError(id: string, how: AbortReason | 'committed', detail: string, what: string): CodedError {
  const text = how === 'committed' ? 'was committed' : `was aborted (${how}: ${detail})`;
  const hint = how === 'committed' ? 'its views are gone; begin another' : 'begin another; it covers the same changes';
  return new CodedError('BACKUP_ENDED', `backup ${id} ${text} and cannot be ${what}`, hint);
}
