import { expect, test, vi } from 'vitest';
import { CodedError } from '../../../src/base/coded-error.js';
import { ENOSPC, OK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { changeDurably } from '../../../src/bitmap/store/change-durably.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import type { Undo } from '../../../src/bitmap/undo.js';
import { MemoryStore } from '../../support/memory-store.js';

const GRANULE_BYTES = 64 * KIB;
const DISK_BYTES = 8 * MIB;

async function open(store: MemoryStore, exportName: string) {
  const bitmaps = new BitmapSet(DISK_BYTES);
  const { intents } = await PersistentBitmaps.open({
    exportName,
    bitmaps,
    store,
    readOnly: false,
    identify: async () => ({ kind: 'file', id: exportName, sizeBytes: DISK_BYTES }),
    limits: { regionBytes: MIB, maxActiveRegions: 3, coolAfterTicks: 0 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  return { bitmaps, intents };
}

/** Two disks in one store, each with a bitmap that has a dirty granule. */
async function scene() {
  const store = new MemoryStore();
  const disks = [await open(store, 'one'), await open(store, 'two')];
  const logs = disks.map(({ intents }) => intents);
  const commits = logs.map((log) => log.commits);
  const add = (undos: Undo[]) => {
    for (const { bitmaps } of disks) undos.push(bitmaps.add({ name: 'nightly', persistent: true }));
  };
  await changeDurably(commits, store, { apply: add });
  for (const log of logs) expect(await log.record(0, KIB)).toBe(OK);
  const clear = (undos: Undo[]) => {
    for (const { bitmaps } of disks) undos.push(bitmaps.get('nightly').clear());
  };
  const dirtyBytes = () => disks.map(({ bitmaps }) => bitmaps.get('nightly').dirtyBytes);
  const isTrusted = () => disks.map(({ bitmaps }) => bitmaps.get('nightly').inconsistent === undefined);
  return { store, disks, logs, commits, clear, dirtyBytes, isTrusted };
}

test('several disks change in one commit, and no other commit of them comes in between', async () => {
  const { store, logs, commits, clear, dirtyBytes } = await scene();
  const before = store.commits;
  const seen: number[] = [];
  const cooled = vi.fn();
  const made = await changeDurably(commits, store, {
    apply: async (undos) => {
      for (const log of logs) void log.cool(0).then(cooled);
      clear(undos);
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(store.commits - before, cooled.mock.calls.length);
      return 'made';
    },
  });
  expect([made, seen, dirtyBytes()]).toEqual(['made', [0, 0], [0, 0]]);
  await expect.poll(() => cooled.mock.calls.length).toBe(2);
});

test('a plan that cannot be made takes the change back on all disks, and the next change works', async () => {
  const { store, commits, clear, dirtyBytes } = await scene();
  vi.spyOn(commits[1]!, 'plan').mockImplementationOnce(() => {
    throw new Error('out of memory');
  });
  await expect(changeDurably(commits, store, { apply: clear })).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: 'the change could not be stored and was undone: out of memory',
  });
  expect(dirtyBytes()).toEqual([GRANULE_BYTES, GRANULE_BYTES]);
  for (const name of ['one', 'two']) {
    const { bitmaps } = await open(store, name);
    // Its granule was marked.
    expect(bitmaps.get('nightly').dirtyBytes).toBe(64 * KIB);
  }
  await changeDurably(commits, store, { apply: clear });
  expect(dirtyBytes()).toEqual([0, 0]);
});

test('a disk that is not waited for any longer leaves the others unchanged and free', async () => {
  const { store, logs, commits, clear, dirtyBytes } = await scene();
  const changed = changeDurably(commits, store, { apply: clear }, (disk, work) =>
    disk === commits[1] ? Promise.reject(new Error('it did not answer')) : disk.pass(work),
  );
  await expect(changed).rejects.toThrow('it did not answer');
  expect(dirtyBytes()).toEqual([GRANULE_BYTES, GRANULE_BYTES]);
  for (const log of logs) expect(await log.record(4 * MIB, KIB)).toBe(OK);
});

test('a change that stays although it cannot be stored is stored by the next commit', async () => {
  const { store, logs, commits, clear, dirtyBytes } = await scene();
  store.failWith = ENOSPC;
  const stays = (cause: Error) => new CodedError('STORE_UNUSABLE', `it stays: ${cause.message}`);
  await expect(changeDurably(commits, store, { apply: clear, stays })).rejects.toThrow('it stays: the store fails');
  expect(dirtyBytes()).toEqual([0, 0]);
  store.failWith = undefined;
  for (const log of logs) expect(await log.cool(-1)).toBe(OK);
  expect((await open(store, 'one')).bitmaps.get('nightly').dirtyBytes).toBe(0);
});

test('a change that stays leaves no bitmap trusted if a bug ends it halfway, and all as they were if it is refused', async () => {
  const { store, logs, commits, isTrusted } = await scene();
  const stays = (cause: Error) => new CodedError('STORE_UNUSABLE', cause.message);
  const end = (error: Error) =>
    changeDurably(commits, store, {
      apply: () => {
        throw error;
      },
      stays,
    });
  await expect(end(new CodedError('BITMAP_BUSY', 'it is busy'))).rejects.toThrow('it is busy');
  expect(isTrusted()).toEqual([true, true]);
  await expect(end(new Error('out of memory'))).rejects.toThrow('out of memory');
  expect(isTrusted()).toEqual([false, false]);
  for (const log of logs) expect(await log.record(4 * MIB, KIB)).toBe(OK);
  expect((await open(store, 'one')).bitmaps.get('nightly').inconsistent).toBe('a change to it failed halfway');
});

test('a removal that is taken back leaves the bitmap untrusted if another program wrote to the disk meanwhile', async () => {
  const { store, disks, commits, isTrusted } = await scene();
  const { bitmaps } = disks[0]!;
  store.failWith = ENOSPC;
  const changed = changeDurably(commits, store, {
    apply: (undos) => {
      undos.push(bitmaps.remove(bitmaps.get('nightly')));
      bitmaps.distrust('another program wrote');
    },
  });
  await expect(changed).rejects.toMatchObject({ code: 'STORE_IN_DOUBT' });
  expect(isTrusted()).toEqual([false, true]);
});

test('without a store the change is made in memory', async () => {
  const { clear, dirtyBytes } = await scene();
  await changeDurably([], undefined, { apply: clear });
  expect(dirtyBytes()).toEqual([0, 0]);
});
