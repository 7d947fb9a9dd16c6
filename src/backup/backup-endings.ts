import type { Log } from '../base/log.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { type Undo, undoable } from '../bitmap/undo.js';
import { changeAtOneInstant, type InstantChange } from '../export/cut.js';
import type { ExportRegistry } from '../export/registry.js';
import type { Backup, BackupPart } from './backup.js';
import { eventOf, type PublishBackupEvent } from './backup-event.js';
import type { AbortReason, EndOfBackup, ReadInFull } from './backup-record.js';
import type { RecordStore } from './record-store.js';

export interface EndingsHost {
  readonly exports: ExportRegistry;
  readonly records: RecordStore;
  readonly store: KeyValueStore | undefined;
  readonly log: Log;
  readonly publish: PublishBackupEvent;
  /** A backup has ended. */
  readonly ended: (backup: Backup) => void;
}

/** Ends backups, one ending of each at a time: the bitmaps switch together with the record, the views go after that. */
export class BackupEndings {
  /** Attempts to abort those that can only be aborted. */
  private readonly attempts = new Map<Backup, Promise<void>>();
  /** Views of ended backups that still have clients. */
  private readonly releasing = new Set<Promise<void>>();

  constructor(private readonly host: EndingsHost) {}

  /** Does nothing when it has ended meanwhile. @throws CodedError BACKUP_ENDED when it can only be aborted; those of a cut */
  commit(backup: Backup, readInFull: readonly ReadInFull[]): Promise<void> {
    return backup.endings.pass(async () => {
      if (!backup.active) return;
      await Promise.all(backup.parts.map(({ snapshot }) => snapshot.checkScratch()));
      backup.mustGoOn('committed');
      const parts = backup.partsAsRead(readInFull);
      const end = { state: 'committed', endedAt: new Date().toISOString(), parts } as const;
      // Clean is then what was written before the backup began, and not since.
      const abdicate = ({ served, bitmap }: BackupPart) => {
        // While this waited for the exports, its bitmap may have become inconsistent, and another got its name.
        backup.mustGoOn('committed');
        return served.bitmaps.abdicate(bitmap.name, backup.id);
      };
      await this.end(backup, end, abdicate, { flush: 'written-earlier' });
      this.host.publish(eventOf(backup, { type: 'backup-committed' }));
    });
  }

  /** Does nothing when it has ended meanwhile. @throws CodedError, those of a cut */
  abort(backup: Backup, reason: AbortReason, detail: string): Promise<void> {
    return backup.endings.pass(async () => {
      if (!backup.active) return;
      const endedAt = new Date().toISOString();
      const end = { state: 'aborted', endedAt, endReason: reason, endDetail: detail } as const;
      // Of an export that is being closed the bitmap is stored frozen, and is reclaimed when it is opened again.
      await this.end(backup, end, giveUp, { flush: 'nothing', skipClosed: true });
      this.host.log.warn({ backup: backup.id, reason, detail }, 'a backup was aborted');
      this.host.publish(eventOf(backup, { type: 'backup-aborted', reason }));
    });
  }

  /** Tries to abort one that can only be aborted; one attempt at a time. Never rejects. */
  abortDoomed(backup: Backup): Promise<void> {
    const underWay = this.attempts.get(backup);
    if (underWay) return underWay;
    const { reason, detail } = backup.doom!;
    const attempt = this.abort(backup, reason, detail)
      .catch((err: unknown) =>
        this.host.log.error({ err, backup: backup.id }, 'a backup could not be aborted; it is tried again'),
      )
      .finally(() => this.attempts.delete(backup));
    this.attempts.set(backup, attempt);
    return attempt;
  }

  /** Resolves when no view of an ended backup is left. */
  async settled(): Promise<void> {
    await Promise.all(this.releasing);
  }

  private async end(
    backup: Backup,
    end: EndOfBackup,
    change: (part: BackupPart) => Undo,
    how: Pick<InstantChange, 'flush' | 'skipClosed'>,
  ): Promise<void> {
    const { records, store } = this.host;
    const changeAll = (undos: Undo[]) => {
      for (const part of backup.parts) undos.push(change(part));
    };
    await changeAtOneInstant(backup.exports, {
      ...how,
      store,
      apply: () => undoable(changeAll),
      records: () => records.changes(backup.record(end)),
    });
    backup.ended(end);
    records.hold(backup.record());
    this.host.ended(backup);
    this.release(backup);
  }

  /** Nobody waits for it: clients of the views may take their time. */
  private release(backup: Backup): void {
    const gone = backup
      .release((view) => this.host.exports.removeView(view))
      .catch((err: unknown) => this.host.log.error({ err, backup: backup.id }, 'scratch could not be closed'))
      .finally(() => this.releasing.delete(gone));
    this.releasing.add(gone);
  }
}

function giveUp({ served: { bitmaps, closing }, bitmap, freeze }: BackupPart): Undo {
  if (closing) return () => {};
  // Inconsistent, and then removed or begun anew: what has its name now is none of this backup's.
  if (bitmap.removed) return () => {};
  if (bitmap.provisional) return bitmaps.withdraw(bitmap.name);
  return bitmap.busy && bitmap.freezes === freeze ? bitmaps.reclaim(bitmap.name) : () => {};
}
