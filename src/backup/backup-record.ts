import { randomInt } from 'node:crypto';
import type { Backup, BackupPart } from '../api/backup.js';
import { timedId } from '../base/timed-id.js';

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
  /** Who began and who ended it, see `describeIdentity`. */
  readonly startedBy?: string;
  readonly endedBy?: string;
  readonly parts: readonly PartRecord[];
}

export type EndOfBackup = Required<Pick<BackupRecord, 'state' | 'endedAt'>> &
  Pick<BackupRecord, 'endReason' | 'endDetail' | 'endedBy'> &
  Partial<Pick<BackupRecord, 'parts'>>;

/** Crockford's base 32: no letters that are easily confused, and in sort order. */
const LETTERS = '0123456789abcdefghjkmnpqrstvwxyz';

/** An id that sorts by time to the millisecond: two of its last characters are the milliseconds, two are random. */
export function newBackupId(at: Date): string {
  const milliseconds = at.getUTCMilliseconds();
  const numbers = [Math.floor(milliseconds / 32), milliseconds % 32, randomInt(32), randomInt(32)];
  return timedId(at, numbers.map((number) => LETTERS[number]).join(''));
}
