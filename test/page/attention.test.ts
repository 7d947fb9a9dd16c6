import { expect, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import type { ExportDescription } from '../../src/api/export.js';
import type { Server } from '../../src/api/server.js';
import { attentionOf } from '../../src/page/attention.js';

const at = Date.parse('2026-11-28T12:00:00Z');
const fine = {
  server: { persistent: true } as unknown as Server,
  exports: [],
  unserved: [],
  backups: [],
  thresholds: [],
  rates: new Map(),
  at,
};
const textsOf = (known: object) => attentionOf({ ...fine, ...known }).map(({ text }) => text);

const backup = (changes: object): Backup =>
  ({
    id: 'b1',
    bitmap: 'nightly',
    state: 'active',
    startedAt: '2026-11-28T11:00:00Z',
    ttlSeconds: 100,
    expiresAt: '2026-11-28T12:01:30Z',
    onScratchFull: 'fail-view',
    scratch: { usedBytes: 0 },
    exports: [{ export: 'vm1' }],
    ...changes,
  }) as unknown as Backup;

test('nothing needs attention when all is well', () => {
  expect(textsOf({ backups: [backup({}), backup({ state: 'committed' })] })).toEqual([]);
});

test('the most urgent comes first', () => {
  const bitmaps = [{ name: 'nightly', inconsistent: true, inconsistentReason: 'the disk changed' }, { name: 'weekly' }];
  const texts = textsOf({
    server: { persistent: false, memory: { waitingConnections: 2 } } as unknown as Server,
    exports: [{ name: 'vm1', bitmaps } as unknown as ExportDescription],
    unserved: [{ name: 'vm2', path: 'x', problem: 'no such file' }],
  });
  expect(texts).toEqual([
    'The export vm2 is not served: no such file.',
    'The bitmap nightly of vm1 is inconsistent (the disk changed). Remove it and add it again; the next backup is a full one.',
    '2 clients cannot go on until memory is free.',
    'Bitmaps do not survive a restart of the server.',
  ]);
});

test.each([
  ['fail-view', 'it is aborted'],
  ['fail-writer', 'writes of clients fail'],
])('scratch space that fills up with %s', (onScratchFull, then) => {
  const scratch = (usedBytes: number) =>
    textsOf({ backups: [backup({ onScratchFull, scratch: { usedBytes, limitBytes: 100 } })] });
  expect(scratch(79)).toEqual([]);
  expect(scratch(80)).toEqual([`The scratch space of the backup b1 is 80 % full. When it is full, ${then}.`]);
});

test('a lease that nobody has renewed', () => {
  expect(textsOf({ backups: [backup({ expiresAt: '2026-11-28T12:00:20Z' })] })).toEqual([
    'The lease of the backup b1 ends in 20 s, and its agent has not renewed it.',
  ]);
});

test('an aborted backup, until there is a later one', () => {
  const aborted = backup({ state: 'aborted', endReason: 'expired' });
  expect(textsOf({ backups: [aborted] })).toEqual([
    'The last backup of vm1 with the bitmap nightly, b1, was aborted: expired.',
  ]);
  const later = backup({ id: 'b2', state: 'committed', startedAt: '2026-11-28T11:30:00Z' });
  expect(textsOf({ backups: [aborted, later] })).toEqual([]);
  expect(textsOf({ backups: [later, { ...aborted, startedAt: '2026-11-28T11:40:00Z' }] })).toHaveLength(1);
});

test('a backup that somebody aborted on purpose is no matter', () => {
  expect(textsOf({ backups: [backup({ state: 'aborted', endReason: 'asked' })] })).toEqual([]);
});

test('a disk that failed requests in the last minute', () => {
  const points = (failed: number, later: number) => [
    { failed },
    ...Array.from({ length: later }, () => ({ failed: 0 })),
  ];
  expect(textsOf({ rates: new Map([['vm1', points(2, 59)]]) })).toEqual([
    'The disk of vm1 failed 2 requests in the last minute. The log says why.',
  ]);
  expect(textsOf({ rates: new Map([['vm1', points(2, 60)]]) })).toEqual([]);
});

test('thresholds that are crossed', () => {
  const threshold = (kind: string, crossing: object, more: object = {}) => ({
    ...{
      name: 't',
      kind,
      exports: ['*'],
      count: 1,
      crossed: [{ since: '', export: 'vm1', bitmap: 'nightly', ...crossing }],
    },
    ...more,
  });
  const thresholds = [
    threshold('dirty', { limitBytes: 1024, valueBytes: 2048 }),
    threshold('backup-age', { limitSeconds: 3600, ageSeconds: 7200 }),
    threshold('room', { limitBytes: 2048, valueBytes: 1024, export: undefined }, { of: 'scratch' }),
    threshold('room', {}, { crossed: [] }),
  ];
  expect(textsOf({ thresholds })).toEqual([
    '2 KiB are dirty in the bitmap nightly of vm1, more than 1 KiB (t).',
    'The last backup of vm1 is 2 h old, more than 1 h (t).',
    'Only 1 KiB are free for the scratch, less than 2 KiB (t).',
  ]);
});
