import type { Backup, BackupPart } from '../api/backup.js';

/** One export's part in a backup, as it was at the cut; once committed, as the agent reported reading it. */
export type PartRecord = Pick<
  BackupPart,
  'export' | 'mode' | 'fullReason' | 'base' | 'sizeBytes' | 'granularityBytes' | 'dirtyBytes' | 'estimatedReadBytes'
>;

/** The stored record of a backup, in JSON. */
export interface BackupRecord
  extends Pick<
    Backup,
    'id' | 'bitmap' | 'state' | 'startedAt' | 'ttlSeconds' | 'onScratchFull' | 'endedAt' | 'endReason' | 'endDetail'
  > {
  readonly scratchLimitBytes?: number;
  readonly parts: readonly PartRecord[];
}

export type EndOfBackup = Required<Pick<BackupRecord, 'state' | 'endedAt'>> &
  Pick<BackupRecord, 'endReason' | 'endDetail'> &
  Partial<Pick<BackupRecord, 'parts'>>;
