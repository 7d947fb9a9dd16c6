import type { ReadInFull } from '../api/backup.js';
import type { Log } from '../base/log.js';
import { runGivingWay } from '../base/steps.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import type { Undo } from '../bitmap/undo.js';
import { changeAtOneInstant, type Instant, type InstantChange } from '../export/cut.js';
import type { ExportRegistry } from '../export/registry.js';
import type { Backup, BackupPart, Failure } from './backup.js';
import { backupEnded, type PublishBackupEvent } from './backup-event.js';
import type { EndOfBackup } from './backup-record.js';
import type { RecordStore } from './record-store.js';

export interface EndingsHost {
  readonly exports: ExportRegistry;
  readonly records: RecordStore;
  readonly store: KeyValueStore | undefined;
  readonly log: Log;
  readonly publish: PublishBackupEvent;
  /** Called when a backup has ended. */
  readonly ended: (backup: Backup) => void;
}

/** Why a backup is aborted, and who asks for it if somebody does. */
interface Abortion extends Failure {
  readonly by?: string | undefined;
}

/** Ends backups, one ending per backup at a time. Bitmaps and record change together; the views go afterwards. */
export class BackupEndings {
  /** Attempts to abort failed backups. */
  private readonly attempts = new Map<Backup, Promise<void>>();
  /** Views of ended backups that still have clients. */
  private readonly releasing = new Set<Promise<void>>();

  constructor(private readonly host: EndingsHost) {}

  /** Does nothing if it has ended. @throws CodedError BACKUP_ENDED when it can only be aborted; those of a cut */
  commit(backup: Backup, readInFull: readonly ReadInFull[], by?: string): Promise<void> {
    return backup.attemptEnd(async () => {
      await Promise.all(backup.parts.map(({ source }) => source.checkScratch()));
      backup.assertNotFailed('committed');
      const parts = backup.partsAsRead(readInFull);
      const end = {
        state: 'committed',
        endedAt: new Date().toISOString(),
        parts,
        ...(by !== undefined && { endedBy: by }),
      } as const;
      // This makes clean only what was written before the backup began and not since.
      const abdicate = ({ freeze }: BackupPart, undos: Undo[]) => {
        // While this waited for the exports, a bitmap may have become inconsistent.
        backup.assertNotFailed('committed');
        undos.push(freeze.abdicate(backup.id));
      };
      await this.end(backup, end, abdicate, { flush: 'written-earlier' });
    });
  }

  /** Does nothing if it has already ended. @throws CodedError, those of a cut */
  abort(backup: Backup, { reason, detail, by }: Abortion): Promise<void> {
    return backup.attemptEnd(async () => {
      const endedAt = new Date().toISOString();
      const ended = { state: 'aborted', endedAt, endReason: reason, endDetail: detail } as const;
      const end = { ...ended, ...(by !== undefined && { endedBy: by }) };
      // An export that is being closed stores its bitmap frozen; it is reclaimed when the export is opened again.
      await this.end(backup, end, giveUp, { flush: 'nothing', skipClosed: true });
    });
  }

  /** Tries to abort a failed backup; one attempt at a time. Never rejects. */
  abortFailed(backup: Backup): Promise<void> {
    const underWay = this.attempts.get(backup);
    if (underWay) return underWay;
    const attempt = this.abort(backup, backup.failure!)
      .catch((err: unknown) =>
        this.host.log.error({ err, backup: backup.id }, 'a backup could not be aborted; the server will try again'),
      )
      .finally(() => this.attempts.delete(backup));
    this.attempts.set(backup, attempt);
    return attempt;
  }

  /** Resolves when the views of all ended backups are closed. */
  async settled(): Promise<void> {
    await Promise.all(this.releasing);
  }

  private async end(
    backup: Backup,
    end: EndOfBackup,
    change: (part: BackupPart, undos: Undo[], instant: Instant) => void | Promise<void>,
    how: Pick<InstantChange<void>, 'flush' | 'skipClosed'>,
  ): Promise<void> {
    const { records, store } = this.host;
    await changeAtOneInstant(backup.exports, {
      ...how,
      store,
      apply: async (undos, instant) => {
        for (const part of backup.parts) await change(part, undos, instant);
      },
      records: () => records.changes(backup.record(end)),
    });
    backup.ended(end);
    const record = backup.record();
    records.hold(record);
    this.host.ended(backup);
    this.release(backup);
    this.host.publish(backupEnded(record));
  }

  /** Runs in the background, because clients of the views may take long to disconnect. */
  private release(backup: Backup): void {
    const gone = backup
      .release((view) => this.host.exports.removeView(view))
      .catch((err: unknown) =>
        this.host.log.error({ err, backup: backup.id }, 'the scratch files of a backup could not be closed'),
      )
      .finally(() => this.releasing.delete(gone));
    this.releasing.add(gone);
  }
}

async function giveUp({ served, bitmap, freeze }: BackupPart, undos: Undo[], instant: Instant): Promise<void> {
  const quiet = instant.find(served);
  if (quiet) await runGivingWay(quiet.bitmaps.takingBack(bitmap, freeze, undos));
}
