import type { AbortReason } from '../api/values.js';
import type { Backup } from './backup.js';

/** An event in the life of a backup. */
export interface BackupEvent {
  readonly type: `backup-${'begun' | 'committed' | 'aborted' | 'scratch-filling'}`;
  readonly backup: string;
  readonly bitmap: string;
  readonly exports: readonly string[];
  /** Why it was aborted. */
  readonly reason?: AbortReason;
  /** How full the scratch space is. */
  readonly percent?: number;
}

export type PublishBackupEvent = (event: BackupEvent) => void;

export function eventOf(
  { id, bitmap, exports }: Backup,
  what: Pick<BackupEvent, 'type' | 'reason' | 'percent'>,
): BackupEvent {
  return { ...what, backup: id, bitmap, exports: exports.map(({ name }) => name) };
}
