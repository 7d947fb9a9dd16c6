import { expect, test } from 'vitest';
import type { BackupRecord } from '../../src/backup/backup-record.js';
import { RecordStore } from '../../src/backup/record-store.js';

function committed(id: string, bitmap: string): BackupRecord {
  const times = { startedAt: '2026-01-01T00:00:00Z', endedAt: '2026-01-01T00:00:01Z' };
  const part = { export: 'disk', sizeBytes: 512, granularityBytes: 512, mode: 'full', base: null } as const;
  const parts = [{ ...part, dirtyBytes: 0, estimatedReadBytes: 0 }];
  return {
    id,
    bitmap,
    ttlSeconds: 60,
    onScratchFull: 'fail-view',
    ...times,
    state: 'committed',
    parts,
  } as BackupRecord;
}

test('the oldest of many ended backups are forgotten, but not one that a bitmap counts from', async () => {
  const { records } = await RecordStore.open(undefined);
  for (const id of ['weekly-1', 'weekly-2']) records.hold(committed(id, 'weekly'));
  for (let i = 0; i < 300; i++) records.hold(committed(`hourly-${i}`, 'hourly'));
  expect(records.find('weekly-1')).toBeUndefined();
  expect(records.find('weekly-2')).toBeDefined();
  expect(records.find('hourly-0')).toBeUndefined();
  expect(records.list().length).toBeLessThan(210);
});
