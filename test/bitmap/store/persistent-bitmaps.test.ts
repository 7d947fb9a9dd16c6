import { afterEach, describe, expect, test, vi } from 'vitest';
import { EIO, ENOSPC, OK } from '../../../src/base/errno.js';
import { ExtentList } from '../../../src/base/extents.js';
import { silentLog } from '../../../src/base/log.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { DIRTY } from '../../../src/bitmap/dirty-bits.js';
import type { OnBitmapError } from '../../../src/bitmap/store/bitmap-failures.js';
import { changeDurably } from '../../../src/bitmap/store/change-durably.js';
import { CommitPressure } from '../../../src/bitmap/store/commit-pressure.js';
import { inspectStore } from '../../../src/bitmap/store/inspect-store.js';
import { allRegions, regionKey } from '../../../src/bitmap/store/keys.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import type { DiskIdentity } from '../../../src/storage/image/disk-identity.js';
import { MemoryStore } from '../../support/memory-store.js';

const DISK_BYTES = 64 * MIB;
const GRANULE_BYTES = 64 * KIB;
const REGION_BYTES = 16 * MIB;

const disk: DiskIdentity = {
  kind: 'file',
  id: '1:42',
  sizeBytes: DISK_BYTES,
  modifiedAt: '1000000000',
  changedAt: '5',
};

afterEach(() => void vi.restoreAllMocks());

interface Opened {
  readonly bitmaps: BitmapSet;
  readonly persistence: PersistentBitmaps;
}

async function open(
  store: MemoryStore,
  identity: DiskIdentity = disk,
  onBitmapError: OnBitmapError = 'refuse',
  identify = async () => identity,
): Promise<Opened> {
  const bitmaps = new BitmapSet(identity.sizeBytes);
  const persistence = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    readOnly: false,
    identify,
    limits: { regionBytes: REGION_BYTES, maxActiveRegions: 3, coolAfterTicks: 0 },
    onBitmapError,
    log: silentLog,
  });
  return { bitmaps, persistence };
}

function change({ persistence }: Opened, apply: () => () => void): Promise<void> {
  return changeDurably([persistence.commits], persistence.store, {
    apply: (undos) => void undos.push(apply()),
  });
}

/** A store with a bitmap `nightly`, open. */
async function withBitmap(store = new MemoryStore(), onBitmapError: OnBitmapError = 'refuse'): Promise<Opened> {
  const opened = await open(store, disk, onBitmapError);
  await change(opened, () => opened.bitmaps.add({ name: 'nightly', persistent: true }));
  return opened;
}

async function write({ persistence }: Opened, offset: number, length = 4 * KIB): Promise<number> {
  return persistence.intents.recordNow(offset, length) ? OK : persistence.intents.record(offset, length);
}

function dirty({ bitmaps }: Opened, name = 'nightly'): [offset: number, length: number][] {
  const bitmap = bitmaps.get(name);
  const list = new ExtentList(1000);
  bitmap.extents(0, bitmap.sizeBytes, list);
  const ranges: [number, number][] = [];
  let at = 0;
  list.lengths.forEach((length, i) => {
    if (list.statuses[i] === DIRTY) ranges.push([at, length]);
    at += length;
  });
  return ranges;
}

describe('after a clean close', () => {
  test('bitmaps are exactly as they were', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await change(first, () =>
      first.bitmaps.add({ name: 'fine', granularityBytes: 512, disabled: true, persistent: true }),
    );
    await write(first, 5 * MIB);
    await write(first, DISK_BYTES - 512, 512);
    await first.persistence.close();
    expect(inspectStore(store)).toMatchObject({ problems: [], exports: [{ clean: true, activeRegions: 0 }] });

    const second = await open(store);
    expect(dirty(second)).toEqual([
      [5 * MIB, GRANULE_BYTES],
      [DISK_BYTES - GRANULE_BYTES, GRANULE_BYTES],
    ]);
    expect(second.bitmaps.get('fine')).toMatchObject({ granularityBytes: 512, recording: false, persistent: true });
    expect(dirty(second, 'fine')).toEqual([]);
  });

  test('the store and the bitmap agree on what is dirty, also while frozen and on a disk that ends within a granule', async () => {
    const store = new MemoryStore();
    const opened = await open(store, { ...disk, sizeBytes: DISK_BYTES + 512 });
    await change(opened, () => opened.bitmaps.add({ name: 'nightly', persistent: true }));
    await write(opened, DISK_BYTES, 512);
    await change(opened, () => opened.bitmaps.get('nightly').createSuccessor().undo);
    await write(opened, DISK_BYTES - 512, 1024);
    await opened.persistence.close();
    const { dirtyBytes } = opened.bitmaps.get('nightly');
    expect(dirtyBytes).toBe(GRANULE_BYTES + 512);
    expect(inspectStore(store).exports[0]!.bitmaps).toMatchObject([{ name: 'nightly', frozen: true, dirtyBytes }]);
  });

  test('a transient bitmap is gone', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await change(first, () => first.bitmaps.add({ name: 'passing' }));
    await first.persistence.close();
    expect((await open(store)).bitmaps.list().map(({ name }) => name)).toEqual(['nightly']);
  });

  test.each<[what: string, now: DiskIdentity, reason: string]>([
    ['written', { ...disk, modifiedAt: '2000000000' }, 'modified at 1970-01-01T00:00:02.000Z while not served'],
    ['put back with its old time', { ...disk, changedAt: '3000000000' }, 'replaced or altered at 1970-01-01T00:00:03'],
    ['replaced by another', { ...disk, id: '1:43' }, 'another disk is in its place'],
    ['cut off', { ...disk, sizeBytes: 32 * MIB }, 'its size changed from 67108864 to 33554432 bytes'],
  ])('a disk that was %s meanwhile makes its bitmaps inconsistent, with the reason', async (_what, now, reason) => {
    const store = new MemoryStore();
    await (await withBitmap(store)).persistence.close();
    const opened = await open(store, now);
    expect(opened.bitmaps.get('nightly').inconsistent).toContain(reason);
    expect(() => opened.bitmaps.get('nightly').clear()).toThrow(
      expect.objectContaining({ code: 'BITMAP_INCONSISTENT' }),
    );
    // It is still inconsistent at the next start, although the disk is unchanged.
    await opened.persistence.close();
    const again = await open(store, now);
    expect(again.bitmaps.get('nightly').inconsistent).toContain(reason);
    await change(again, () => again.bitmaps.remove(again.bitmaps.get('nightly')));
    await change(again, () => again.bitmaps.add({ name: 'nightly', persistent: true }));
    expect(again.bitmaps.get('nightly').inconsistent).toBeUndefined();
  });
});

describe('after a crash', () => {
  test('exactly the granules that were being written are dirty', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 20 * MIB);
    await write(first, 30 * MIB, 100 * KIB);
    expect(inspectStore(store)).toMatchObject({
      problems: [],
      exports: [{ clean: false, activeRegions: 1, markedBytes: 3 * GRANULE_BYTES }],
    });
    const second = await open(store, { ...disk, modifiedAt: '7' });
    expect(dirty(second)).toEqual([
      [20 * MIB, GRANULE_BYTES],
      [30 * MIB, 2 * GRANULE_BYTES],
    ]);
    expect(inspectStore(store)).toMatchObject({ problems: [], exports: [{ clean: false, activeRegions: 0 }] });
  });

  test('exactly the regions that were being written are entirely dirty if commits held the writers up', async () => {
    vi.spyOn(CommitPressure.prototype, 'isHigh', 'get').mockReturnValue(true);
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 20 * MIB);
    const second = await open(store, { ...disk, modifiedAt: '7' });
    expect(dirty(second)).toEqual([[REGION_BYTES, REGION_BYTES]]);
    expect(inspectStore(store)).toMatchObject({ problems: [], exports: [{ clean: false, activeRegions: 0 }] });
  });

  test.each<[string, Buffer]>([
    ['an earlier version', Buffer.from([1])],
    ['a version to come', Buffer.from([9, 9, 9, 9])],
    ['this version, but of another length', Buffer.from([2, 16, 1])],
  ])('a mark of %s names its whole region', async (_what, value) => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 20 * MIB);
    await store.commit([{ key: regionKey('disk', 1), value }]);
    expect(dirty(await open(store))).toEqual([[REGION_BYTES, REGION_BYTES]]);
  });

  test('pieces are as small as the smallest granules, and those of a mark stay as they are', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 20 * MIB);
    await change(first, () => first.bitmaps.add({ name: 'fine', granularityBytes: 4 * KIB, persistent: true }));
    await write(first, 24 * MIB);
    await write(first, 40 * MIB, 8 * KIB);
    const second = await open(store);
    expect(dirty(second)).toEqual([
      [20 * MIB, GRANULE_BYTES],
      [24 * MIB, GRANULE_BYTES],
      [40 * MIB, GRANULE_BYTES],
    ]);
    expect(dirty(second, 'fine')).toEqual([
      [20 * MIB, GRANULE_BYTES],
      [24 * MIB, GRANULE_BYTES],
      [40 * MIB, 8 * KIB],
    ]);
  });

  test('a mark reaches no further than a disk whose last region is short', async () => {
    const store = new MemoryStore();
    const short = { ...disk, sizeBytes: 40 * MIB + 4 * KIB };
    const first = await open(store, short);
    await change(first, () => first.bitmaps.add({ name: 'nightly', persistent: true }));
    await write(first, 40 * MIB);
    await store.commit([{ key: regionKey('disk', 0), value: Buffer.from([1]) }]);
    expect(dirty(await open(store, short))).toEqual([
      [0, REGION_BYTES],
      [40 * MIB, 4 * KIB],
    ]);
  });

  test('if a shrink could not be stored, the dirty granules of the tail are kept', async () => {
    const store = new MemoryStore();
    let now = disk;
    const first = await open(store, disk, 'refuse', async () => now);
    await change(first, () => first.bitmaps.add({ name: 'nightly', persistent: true }));
    await write(first, 60 * MIB);
    now = { ...disk, sizeBytes: 32 * MIB };
    store.failWith = ENOSPC;
    await expect(first.persistence.resize(32 * MIB)).rejects.toMatchObject({ code: 'STORE_UNUSABLE' });
    store.failWith = undefined;
    // Whatever is stored next includes the size of the disk.
    await write(first, 0);
    const second = await open(store);
    expect(second.bitmaps.get('nightly').inconsistent).toMatch(/^its size changed from 33554432 to 67108864/);
  });

  test('regions that cooled are exactly as they were', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 20 * MIB);
    await first.persistence.tick();
    expect(first.persistence.intents.activeRegions).toBe(0);
    expect(dirty(await open(store))).toEqual([[20 * MIB, GRANULE_BYTES]]);
  });

  test('a frozen bitmap is reclaimed, with everything that became dirty before or after the freeze', async () => {
    const store = new MemoryStore();
    const first = await withBitmap(store);
    await write(first, 0);
    await change(first, () => first.bitmaps.get('nightly').createSuccessor().undo);
    await write(first, 40 * MIB);
    await first.persistence.tick();
    const second = await open(store);
    expect(second.bitmaps.get('nightly')).toMatchObject({ busy: false, recording: true });
    expect(dirty(second)).toEqual([
      [0, GRANULE_BYTES],
      [40 * MIB, GRANULE_BYTES],
    ]);
  });

  test('another disk in its place is still noticed', async () => {
    const store = new MemoryStore();
    await withBitmap(store);
    expect((await open(store, { ...disk, id: '9:9' })).bitmaps.get('nightly').inconsistent).toContain('another disk');
  });
});

describe('the write-intent log', () => {
  test('a write to a granule that is dirty already needs no mark', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    await write(opened, 0);
    await opened.persistence.tick();
    const { commits } = store;
    expect(opened.persistence.intents.recordNow(4 * KIB, 4 * KIB)).toBe(true);
    expect(opened.persistence.intents.recordNow(GRANULE_BYTES, 4 * KIB)).toBe(false);
    expect(store.commits).toBe(commits);
  });

  test('writes that wait at the same time share a commit', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    const { commits } = store;
    await Promise.all([0, 1, 2].map((region) => write(opened, region * REGION_BYTES)));
    expect(store.commits - commits).toBeLessThanOrEqual(2);
  });

  test('respects the limit of active regions; the one that has been calm for longest cools first', async () => {
    vi.spyOn(CommitPressure.prototype, 'isHigh', 'get').mockReturnValue(true);
    vi.spyOn(CommitPressure.prototype, 'ticksToCalm', 'get').mockReturnValue(1000);
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    for (const region of [0, 2, 1, 3]) {
      await write(opened, region * REGION_BYTES);
      await opened.persistence.intents.cool(1000);
    }
    expect([...store.keys(allRegions('disk'))].map((key) => key.at(-1))).toEqual([2, 1, 3]);
    await write(opened, 0 + GRANULE_BYTES);
    expect([...store.keys(allRegions('disk'))].map((key) => key.at(-1))).toEqual([1, 3, 0]);
  });

  test('a write that cannot be recorded is refused, and the next one too until the store works again', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    store.failWith = ENOSPC;
    expect(await write(opened, 0)).toBe(ENOSPC);
    expect(dirty(opened)).toEqual([]);
    store.failWith = undefined;
    expect(await write(opened, 0)).toBe(OK);
    expect(dirty(opened)).toEqual([[0, GRANULE_BYTES]]);
  });

  test('with on-bitmap-error=continue writes go on, and the bitmap is inconsistent, durably as soon as possible', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store, 'continue');
    store.failWith = ENOSPC;
    expect(await write(opened, 0)).toBe(OK);
    expect(opened.bitmaps.get('nightly').inconsistent).toBe('a write could not be recorded in the store: ENOSPC');
    store.failWith = undefined;
    await opened.persistence.tick();
    expect((await open(store)).bitmaps.get('nightly').inconsistent).toContain('ENOSPC');
  });
});

test('a change that cannot be stored is undone', async () => {
  const store = new MemoryStore();
  const opened = await withBitmap(store);
  await write(opened, 0);
  store.failWith = ENOSPC;
  await expect(change(opened, () => opened.bitmaps.get('nightly').clear())).rejects.toMatchObject({
    code: 'STORE_IN_DOUBT',
  });
  expect(dirty(opened)).toEqual([[0, GRANULE_BYTES]]);
  store.failWith = undefined;
  await opened.persistence.close();
  expect(dirty(await open(store))).toEqual([[0, GRANULE_BYTES]]);
});

test('a commit that waits behind a close that fails is not made, because the disk may be open again by then', async () => {
  const store = new MemoryStore();
  const opened = await withBitmap(store);
  expect(await write(opened, 0)).toBe(OK);
  const { intents } = opened.persistence;
  const before = store.commits;
  vi.spyOn(store, 'commit').mockRejectedValueOnce(Object.assign(new Error('full'), { errno: -ENOSPC }));
  const closed = intents.close([]);
  const [saved, renewed] = [intents.save(async () => []), intents.renewLease()];
  expect(await closed).toBe(ENOSPC);
  const again = await open(store);
  expect([await saved, await renewed]).toEqual([EIO, EIO]);
  // The one that opens it.
  expect(store.commits).toBe(before + 1);
  expect(dirty(again)).toEqual([[0, GRANULE_BYTES]]);
  expect(dirty(await open(store))).toEqual([[0, GRANULE_BYTES]]);
});

test('when a disk grows, its new tail is dirty and stays dirty', async () => {
  const store = new MemoryStore();
  let identity = disk;
  const bitmaps = new BitmapSet(DISK_BYTES);
  const persistence = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    readOnly: false,
    identify: async () => identity,
    limits: { regionBytes: REGION_BYTES, maxActiveRegions: 3, coolAfterTicks: 0 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  const opened = { bitmaps, persistence };
  await change(opened, () => bitmaps.add({ name: 'nightly', persistent: true }));
  await write(opened, 0);
  identity = { ...disk, sizeBytes: 2 * DISK_BYTES };
  await persistence.resize(2 * DISK_BYTES);
  expect(dirty(opened)).toEqual([
    [0, GRANULE_BYTES],
    [DISK_BYTES, DISK_BYTES],
  ]);
  await write(opened, 2 * DISK_BYTES - KIB, KIB);
  const after = await open(store, identity);
  expect(after.bitmaps.get('nightly').inconsistent).toBeUndefined();
  expect(dirty(after)).toEqual([
    [0, GRANULE_BYTES],
    [DISK_BYTES, DISK_BYTES],
  ]);
});

describe('a change of bitmaps that fails because of a bug', () => {
  test('is undone when its records cannot be made', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    await write(opened, 0);
    const noRecord = () => {
      throw new Error('no record');
    };
    const changed = changeDurably([opened.persistence.commits], store, {
      apply: (undos) => void undos.push(opened.bitmaps.get('nightly').clear()),
      records: noRecord,
    });
    await expect(changed).rejects.toThrow('no record');
    expect(dirty(opened)).toEqual([[0, GRANULE_BYTES]]);
    expect(await write(opened, 32 * MIB)).toBe(OK);
    expect(dirty(await open(store)).length).toBe(2);
  });

  test('in a step, when the steps before cannot be undone, makes all bitmaps inconsistent', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    const changed = changeDurably([opened.persistence.commits], store, {
      apply: (undos) => {
        undos.push(() => {
          throw new Error('no way back');
        });
        throw new Error('refused');
      },
    });
    await expect(changed).rejects.toThrow('refused');
    expect(opened.bitmaps.get('nightly').inconsistent).toBe('a change to it failed halfway');
    expect(await opened.persistence.tick()).toBe(OK);
    expect((await open(store)).bitmaps.get('nightly').inconsistent).toBe('a change to it failed halfway');
  });

  test('and cannot be undone makes all bitmaps inconsistent', async () => {
    const store = new MemoryStore();
    const opened = await withBitmap(store);
    store.failWith = ENOSPC;
    const failing = change(opened, () => () => {
      throw new Error('no way back');
    });
    await expect(failing).rejects.toMatchObject({ code: 'STORE_IN_DOUBT' });
    expect(opened.bitmaps.get('nightly').inconsistent).toBe('a change to it failed halfway');
    store.failWith = undefined;
    expect(await opened.persistence.tick()).toBe(OK);
    expect((await open(store)).bitmaps.get('nightly').inconsistent).toBe('a change to it failed halfway');
  });
});
