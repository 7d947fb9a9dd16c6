import { expect, test, vi } from 'vitest';
import { OK } from '../../../src/base/errno.js';
import { KIB } from '../../../src/base/units.js';
import { DiskWatch } from '../../../src/bitmap/store/disk-watch.js';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import type { DiskIdentity } from '../../../src/storage/image/disk-identity.js';

/** A block device that is being written, and a second program that writes to it. */
async function scene() {
  let writtenSectors = 0;
  const identify = async (): Promise<DiskIdentity> => ({
    kind: 'block device',
    id: '7:1',
    sizeBytes: 64 * KIB,
    counters: { bootId: 'boot', diskSequence: 1, writtenSectors, discardedSectors: 0 },
  });
  const outsideChanges: string[] = [];
  /** The limit in shared memory whenever the store is asked to save. */
  const limits: number[] = [];
  const watch: DiskWatch = new DiskWatch({
    watching: true,
    identify,
    readCounters: async () => (await identify()).counters,
    counting: { blockBytes: 512 },
    shareNumber: () => undefined,
    seen: await identify(),
    bootId: 'boot',
    describe: (): Change => ({ key: ['export', 'disk'], value: undefined }),
    save: async (prepare) => {
      await prepare();
      limits.push(watch.activity.explained!.limit);
      return OK;
    },
    renew: async () => OK,
    matters: () => true,
    onOutsideChange: (reason) => outsideChanges.push(reason),
  });
  const beginToWrite = async () => (await watch.renew()).granted();
  const write = (sectors: number) => {
    writtenSectors += sectors;
  };
  return { watch, beginToWrite, write, limits, outsideChanges };
}

test('a write of another program is not explained to the next start before the store knows about it', async () => {
  const { watch, beginToWrite, write, limits, outsideChanges } = await scene();
  await beginToWrite();
  write(8);
  expect(await watch.rest()).toBe(OK);
  expect(outsideChanges).toHaveLength(1);
  expect(limits).toEqual([0]);

  // At rest the store has the count, so the next writes are explained from there.
  await beginToWrite();
  expect(watch.activity.explained!.limit).toBe(8);
  expect(outsideChanges).toHaveLength(1);
});

test('a tick at rest looks at the times alone, and at the disk only when they differ', async () => {
  const file = (modifiedAt: string): DiskIdentity => ({
    kind: 'file',
    id: '1:2',
    sizeBytes: 64 * KIB,
    localTimes: true,
    modifiedAt,
    changedAt: '5',
  });
  let now = file('5');
  const outsideChanges: string[] = [];
  const identify = vi.fn(async () => now);
  const save = vi.fn(async (prepare: () => Promise<unknown>) => {
    await prepare();
    return OK;
  });
  const watch = new DiskWatch({
    watching: true,
    identify,
    timesNow: () => now,
    readCounters: async () => undefined,
    counting: undefined,
    shareNumber: () => undefined,
    seen: now,
    bootId: 'boot',
    describe: (): Change => ({ key: ['export', 'disk'], value: undefined }),
    save,
    renew: async () => OK,
    matters: () => true,
    onOutsideChange: (reason) => outsideChanges.push(reason),
  });
  for (let tick = 0; tick < 3; tick++) expect(await watch.tick()).toBe(OK);
  expect([identify, save].map(({ mock }) => mock.calls.length)).toEqual([0, 0]);
  now = file('7');
  expect(await watch.tick()).toBe(OK);
  expect(outsideChanges).toEqual(['another program changed the disk while it was served']);
});

test('a write of another thread that comes right after a look is expected at the next one', async () => {
  const file = (modifiedAt: number): DiskIdentity => ({
    kind: 'file',
    id: '1:2',
    sizeBytes: 64 * KIB,
    localTimes: true,
    modifiedAt: `${modifiedAt}000000`,
  });
  const began = Date.now();
  let now = file(began - 1000);
  const outsideChanges: string[] = [];
  const watch = new DiskWatch({
    watching: true,
    identify: async () => now,
    readCounters: async () => undefined,
    counting: undefined,
    shareNumber: () => undefined,
    seen: now,
    bootId: 'boot',
    describe: (): Change => ({ key: ['export', 'disk'], value: undefined }),
    save: async () => OK,
    renew: async () => OK,
    matters: () => true,
    onOutsideChange: (reason) => outsideChanges.push(reason),
  });
  // The thread writes as soon as its writes have been looked at twice: before the disk was identified and afterwards.
  let looks = 0;
  watch.activity.include({
    inFlight: 0,
    get finished() {
      if (looks++ === 2) now = file(began);
      return looks > 3 ? 1 : 0;
    },
    lastEndedAt: began,
    close: () => {},
    allowUntil: () => {},
  });
  (await watch.renew()).granted();
  looks = 0;
  for (let check = 0; check < 3; check++) await watch.check();
  expect(looks).toBeGreaterThan(3);
  expect(outsideChanges).toEqual([]);
});
