import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { BackupRecord } from '../../src/backup/backup-record.js';
import { silentLog } from '../../src/base/log.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { EventHistory } from '../../src/watch/event-history.js';
import { describeThreshold, thresholdFrom } from '../../src/watch/thresholds/described.js';
import { FreeSpace } from '../../src/watch/thresholds/free-space.js';
import { parseThresholdSpec } from '../../src/watch/thresholds/threshold-spec.js';
import { Thresholds } from '../../src/watch/thresholds/thresholds.js';
import { scratchFolder } from '../support/scratch-folder.js';

interface Disk {
  readonly name: string;
  sizeBytes: number;
  /** By bitmap. */
  readonly dirty: Record<string, number>;
}

/** Thresholds over disks, backups, room and a clock that the test changes. */
async function watch(specs: readonly string[], disks: Disk[] = []) {
  const scene = {
    now: Date.parse('2026-11-28T02:00:00.000Z'),
    records: [] as BackupRecord[],
    free: {} as Record<string, number>,
    saved: [] as string[],
  };
  const history = await EventHistory.open(undefined, silentLog);
  const events = new EventFeed();
  history.follow(events);
  const exports = {
    list: () =>
      disks.map((disk) => ({
        ...{ name: disk.name, path: `/${disk.name}`, sizeBytes: disk.sizeBytes },
        findBitmap: (bitmap: string) => (bitmap in disk.dirty ? { dirtyBytes: disk.dirty[bitmap] } : undefined),
      })),
  } as unknown as ExportRegistry;
  const start = () =>
    new Thresholds({
      configured: specs.map(parseThresholdSpec),
      added: [],
      save: async (added) => {
        scene.saved = added.map(({ name }) => name);
      },
      exports,
      events,
      history,
      backups: { list: () => scene.records },
      places: { state: '/state', scratch: '/scratch' },
      freeSpace: { of: (path: string) => scene.free[path] } as FreeSpace,
      now: () => scene.now,
    });
  let thresholds = start();
  /** What is told at the next tick: the type, and where. */
  const tick = async () => {
    const last = history.lastId;
    await thresholds.tick();
    return [...history.after(last)]
      .filter(({ id }) => id > last)
      .map((event) => `${event.type.replace('threshold-', '')} ${'export' in event ? event.export : '-'}`);
  };
  const restart = () => {
    thresholds = start();
  };
  return { scene, history, tick, restart, disks, thresholds: () => thresholds };
}

const committed = (name: string, bitmap: string, endedAt: string) =>
  ({ state: 'committed', bitmap, endedAt, parts: [{ export: name }] }) as unknown as BackupRecord;

test('a bitmap is told of once when too much is dirty, and again after it was well below', async () => {
  const disk: Disk = { name: 'vm1', sizeBytes: 1000, dirty: { nightly: 299 } };
  const { tick, history, thresholds } = await watch(['dirty,bitmap=nightly,share=30'], [disk]);
  expect(await tick()).toEqual([]);
  disk.dirty.nightly = 300;
  expect(await tick()).toEqual(['crossed vm1']);
  expect([...history.query({})][0]!.event).toMatchObject({
    ...{ threshold: 'dirty', kind: 'dirty', export: 'vm1', bitmap: 'nightly', limitBytes: 300, valueBytes: 300 },
  });
  disk.dirty.nightly = 350;
  expect(await tick()).toEqual([]);
  expect(thresholds().list()).toMatchObject([{ crossings: [{ export: 'vm1', valueBytes: 350 }], count: 1 }]);
  for (const [dirty, told] of [
    [299, []],
    [270, []],
    [300, []],
    [269, ['cleared vm1']],
    [299, []],
    [300, ['crossed vm1']],
  ] as const) {
    disk.dirty.nightly = dirty;
    expect(await tick(), String(dirty)).toEqual(told);
  }
  expect(thresholds().list()).toMatchObject([{ count: 2 }]);
});

test('only exports with the bitmap and a fitting name count', async () => {
  const disks: Disk[] = [
    { name: 'vm1', sizeBytes: 100, dirty: { nightly: 50 } },
    { name: 'vm2', sizeBytes: 100, dirty: { other: 50 } },
    { name: 'db', sizeBytes: 100, dirty: { nightly: 50 } },
  ];
  const { tick } = await watch(['dirty,bitmap=nightly,size=10,exports=vm*'], disks);
  expect(await tick()).toEqual(['crossed vm1']);
  disks.length = 0;
  expect(await tick()).toEqual(['cleared vm1']);
});

test('a backup is too old after a time; one that never was counts from the first sight of the disk', async () => {
  const disks: Disk[] = [
    { name: 'vm1', sizeBytes: 1, dirty: { nightly: 0 } },
    { name: 'vm2', sizeBytes: 1, dirty: {} },
  ];
  const { tick, scene } = await watch(['backup-age,bitmap=nightly,age=26h'], disks);
  scene.records = [
    committed('vm1', 'nightly', '2026-11-27T02:00:00.000Z'),
    committed('vm2', 'other', '2026-11-28T01:00:00.000Z'),
  ];
  expect(await tick()).toEqual([]);
  scene.now += 2 * 3600_000;
  expect(await tick()).toEqual([]);
  scene.now += 1000;
  expect(await tick()).toEqual(['crossed vm1']);
  scene.now += 24 * 3600_000;
  expect(await tick()).toEqual(['crossed vm2']);
  scene.records.push(committed('vm1', 'nightly', new Date(scene.now).toISOString()));
  expect(await tick()).toEqual(['cleared vm1']);
});

test('room is told of when there is too little, and not while it is unknown', async () => {
  const disks: Disk[] = [{ name: 'vm1', sizeBytes: 1, dirty: {} }];
  const { tick, scene } = await watch(['room,name=a,of=scratch,size=1000', 'room,name=b,of=disk,size=1000'], disks);
  expect(await tick()).toEqual([]);
  scene.free = { '/scratch': 999, '/vm1': 1000 };
  expect(await tick()).toEqual(['crossed -']);
  scene.free = { '/vm1': 999 };
  expect(await tick()).toEqual(['crossed vm1']);
  scene.free = { '/scratch': 1100, '/vm1': Number.POSITIVE_INFINITY };
  expect(await tick()).toEqual(['cleared vm1']);
  scene.free['/scratch'] = 1101;
  expect(await tick()).toEqual(['cleared -']);
});

test('what was crossed before a restart is not told again', async () => {
  const disk: Disk = { name: 'vm1', sizeBytes: 1000, dirty: { nightly: 500 } };
  const { tick, restart, thresholds, history } = await watch(['dirty,bitmap=nightly,size=400'], [disk]);
  expect(await tick()).toEqual(['crossed vm1']);
  restart();
  expect(await tick()).toEqual([]);
  const [{ crossings }] = thresholds().list() as [ReturnType<Thresholds['list']>[number]];
  expect(crossings).toEqual([expect.objectContaining({ export: 'vm1', valueBytes: 500 })]);
  expect(crossings[0]!.since).toBe([...history.query({ type: 'threshold-crossed' })][0]!.event.at);
  disk.dirty.nightly = 0;
  expect(await tick()).toEqual(['cleared vm1']);
  restart();
  disk.dirty.nightly = 500;
  expect(await tick()).toEqual(['crossed vm1']);
});

test('thresholds are added and removed while the server runs; those of the configuration stay', async () => {
  const disk: Disk = { name: 'vm1', sizeBytes: 1000, dirty: { nightly: 500 } };
  const { tick, thresholds, scene } = await watch(['room,of=state,size=1'], [disk]);
  const dirty = parseThresholdSpec('dirty,bitmap=nightly,size=400');
  await thresholds().add(dirty);
  expect(scene.saved).toEqual(['dirty']);
  await expect(thresholds().add(dirty)).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  expect(await tick()).toEqual(['crossed vm1']);
  await expect(thresholds().remove('room')).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  await expect(thresholds().remove('other')).rejects.toMatchObject({ code: 'THRESHOLD_NOT_FOUND' });
  await thresholds().remove('dirty');
  expect(scene.saved).toEqual([]);
  expect(thresholds().list()).toMatchObject([{ spec: { name: 'room' }, origin: 'configuration' }]);
  expect(await tick()).toEqual([]);
});

test('a reload replaces the thresholds of the configuration, and leaves those that are the same', async () => {
  const disk: Disk = { name: 'vm1', sizeBytes: 1000, dirty: { nightly: 500, other: 500 } };
  const { tick, thresholds } = await watch(
    ['dirty,name=a,bitmap=nightly,size=400', 'dirty,name=b,bitmap=other,size=400'],
    [disk],
  );
  await thresholds().add(parseThresholdSpec('dirty,name=c,bitmap=nightly,size=900'));
  expect(await tick()).toEqual(['crossed vm1', 'crossed vm1']);
  const next = ['dirty,name=a,bitmap=nightly,size=400', 'dirty,name=c,bitmap=nightly,size=300'];
  await thresholds().configure(next.map(parseThresholdSpec));
  expect(thresholds().list()).toMatchObject([
    { spec: { name: 'a' }, origin: 'configuration', count: 1, crossings: [{ export: 'vm1' }] },
    { spec: { name: 'c', limit: { bytes: 300 } }, origin: 'configuration', count: 0, crossings: [] },
  ]);
  expect(await tick()).toEqual(['crossed vm1']);
});

test.each([
  'dirty,bitmap=nightly,share=30',
  'dirty,bitmap=nightly,size=2G,name=big,exports=vm*,exports=db',
  'backup-age,bitmap=nightly,age=26h',
  'room,of=state,size=1G',
  'room,of=disk,size=1G,exports=vm*',
])('%s is the same after it was described and read again', (spec) => {
  const parsed = parseThresholdSpec(spec);
  expect(thresholdFrom(JSON.parse(JSON.stringify(describeThreshold(parsed))))).toEqual(parsed);
});

test('free space is that of the file system, also where a folder does not exist yet', async () => {
  const freeSpace = new FreeSpace();
  const folder = scratchFolder();
  for (const path of [folder, join(folder, 'not', 'yet')]) {
    expect(freeSpace.of(path)).toBeUndefined();
    await expect.poll(() => freeSpace.of(path)).toBeGreaterThan(0);
  }
});

test('free space is asked for every ten seconds, and one question at a time', async () => {
  let now = 0;
  const asked: string[] = [];
  let answer = (_bytes: number) => {};
  const freeSpace = new FreeSpace(
    () => now,
    (path) => {
      asked.push(path);
      return new Promise((resolve) => {
        answer = resolve;
      });
    },
  );
  for (const path of ['/a', '/b', '/a']) freeSpace.of(path);
  expect(asked).toEqual(['/a']);
  answer(1);
  await expect.poll(() => asked).toEqual(['/a', '/b']);
  answer(2);
  await expect.poll(() => [freeSpace.of('/a'), freeSpace.of('/b')]).toEqual([1, 2]);
  now = 9_999;
  freeSpace.of('/a');
  expect(asked).toHaveLength(2);
  now = 10_000;
  freeSpace.of('/a');
  expect(asked).toEqual(['/a', '/b', '/a']);
});
