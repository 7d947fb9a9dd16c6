import { expect, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { timelinesOf } from '../../src/page/timeline.js';

const full = { export: 'vm1', mode: 'full', fullReason: { code: 'no-base', detail: 'there is no base' }, base: null };
const backup = (id: string, hour: number, changes: object = {}): Backup =>
  ({
    id,
    bitmap: 'nightly',
    state: 'committed',
    startedAt: `2026-11-28T${hour}:00:00Z`,
    exports: [full],
    ...changes,
  }) as unknown as Backup;

test('the backups of a disk are in the order of time, with what became of each', () => {
  const incremental = [{ export: 'vm1', mode: 'incremental', base: 'a' }];
  const backups = [
    backup('d', 13, { state: 'active', exports: incremental }),
    backup('c', 12, { state: 'aborted', endReason: 'expired' }),
    backup('b', 11, { exports: incremental }),
    backup('a', 10),
  ];
  const [timeline] = timelinesOf('vm1', backups);
  expect(timeline!.points.map(({ id, kind, text }) => [id, kind, text])).toEqual([
    ['a', 'full', 'full: there is no base'],
    ['b', 'incremental', 'incremental, since a'],
    ['c', 'aborted', 'aborted: expired'],
    ['d', 'active', 'under way, incremental, since a'],
  ]);
});

test('each bitmap has a line of its own, and other disks have none', () => {
  const backups = [backup('a', 10), backup('b', 11, { bitmap: 'weekly' })];
  expect(timelinesOf('vm1', backups).map(({ bitmap }) => bitmap)).toEqual(['nightly', 'weekly']);
  expect(timelinesOf('vm2', backups)).toEqual([]);
});

test('a line has the last 60 backups', () => {
  const backups = Array.from({ length: 70 }, (_, index) => backup(String(index), 10 + (index % 10)));
  expect(timelinesOf('vm1', backups)[0]!.points).toHaveLength(60);
});
