import type { HeldWrites } from '../api/transaction.js';
import type { AbortReason } from '../api/values.js';
import type { BackupRecord, PartRecord } from './backup-record.js';

/** One export's part in the backup. */
type Part = Pick<PartRecord, 'export' | 'mode' | 'fullReason' | 'estimatedReadBytes'>;

type What =
  | { readonly type: 'backup-begun'; readonly parts: readonly Part[]; readonly heldWrites: HeldWrites }
  /** `seconds` is the time since it began. */
  | { readonly type: 'backup-committed'; readonly parts: readonly Part[]; readonly seconds: number }
  | {
      readonly type: 'backup-aborted';
      readonly reason: AbortReason;
      readonly detail: string;
      readonly seconds: number;
    }
  /** `percent` says how full the scratch space is. */
  | { readonly type: 'backup-scratch-filling'; readonly percent: number };

interface OfBackup {
  readonly backup: string;
  readonly bitmap: string;
  readonly exports: readonly string[];
  /** Who asked for it. */
  readonly by?: string;
}

/** An event in the life of a backup. */
export type BackupEvent = What & OfBackup;

export type PublishBackupEvent = (event: BackupEvent) => void;

export function backupBegun(record: BackupRecord, heldWrites: HeldWrites): BackupEvent {
  return { type: 'backup-begun', ...about(record, record.startedBy), parts: record.parts.map(factsOf), heldWrites };
}

export function backupFilling(record: BackupRecord, percent: number): BackupEvent {
  return { type: 'backup-scratch-filling', ...about(record), percent };
}

/** The event of a backup that has ended. */
export function backupEnded(record: BackupRecord): BackupEvent {
  const { startedAt, endedAt = startedAt, endReason: reason = 'asked', endDetail: detail = '', endedBy } = record;
  const seconds = (Date.parse(endedAt) - Date.parse(startedAt)) / 1000;
  const common = about(record, endedBy);
  return record.state === 'committed'
    ? { type: 'backup-committed', ...common, parts: record.parts.map(factsOf), seconds }
    : { type: 'backup-aborted', ...common, reason, detail, seconds };
}

function about({ id, bitmap, parts }: BackupRecord, by?: string): OfBackup {
  return { backup: id, bitmap, exports: parts.map((part) => part.export), ...(by !== undefined && { by }) };
}

function factsOf({ export: name, mode, fullReason, estimatedReadBytes }: PartRecord): Part {
  return { export: name, mode, ...(fullReason && { fullReason }), estimatedReadBytes };
}
