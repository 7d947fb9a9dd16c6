import type { BackupRecord } from '../backup/backup-record.js';
import type { Backups } from '../backup/backups.js';
import type { SeenExports } from '../export/seen-exports.js';

/** A backup is visible to those who may back up all its exports. */
export function mayBackUp(seen: SeenExports, { parts }: BackupRecord): boolean {
  return parts.every((part) => seen.may('backup', part.export));
}

/** A record as the caller may see it: who began and who ended it is for those who administer all its exports. */
export function withAskers(seen: SeenExports, record: BackupRecord): BackupRecord {
  if (record.parts.every((part) => seen.may('admin', part.export))) return record;
  const { startedBy: _began, endedBy: _ended, ...others } = record;
  return others;
}

/** A backup that the caller may see. @throws CodedError BACKUP_NOT_FOUND */
export function visibleBackup(backups: Backups, seen: SeenExports, id: string): BackupRecord {
  const record = backups.get(id);
  return mayBackUp(seen, record) ? record : backups.refuseUnknown(id);
}
