import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test, vi } from 'vitest';
import { EIO, OK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { DiskWatch } from '../../../src/bitmap/store/disk-watch.js';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { keepLog } from '../../support/log-lines.js';
import { MemoryStore } from '../../support/memory-store.js';

const REGION_BYTES = MIB;
const REGIONS = 256;

/** A store whose commits take as long as writing `turns` regions. */
class SlowStore extends MemoryStore {
  turns = 0;

  override async commit(changes: readonly Change[]): Promise<void> {
    for (let i = 0; i < this.turns; i++) await nextTurn();
    await super.commit(changes);
  }
}

function openBitmaps(store: MemoryStore, bitmaps: BitmapSet, log = silentLog): Promise<PersistentBitmaps> {
  const sizeBytes = 256 * MIB;
  return PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    readOnly: false,
    identify: async () => ({ kind: 'file', id: '1:1', sizeBytes, modifiedAt: '1', changedAt: '1' }),
    limits: { regionBytes: REGION_BYTES, maxActiveRegions: REGIONS, coolAfterTicks: 5 },
    onBitmapError: 'refuse',
    log,
  });
}

/** Writes this many bytes at the start of one region after another, one region per turn. */
async function writeEachRegion(writeBytes: number, commitTurns: number, regions = REGIONS) {
  const store = new SlowStore();
  const sizeBytes = REGIONS * REGION_BYTES;
  const bitmaps = new BitmapSet(sizeBytes);
  const { intents } = await openBitmaps(store, bitmaps);
  bitmaps.add({ name: 'nightly', persistent: true });
  store.turns = commitTurns;
  store.commits = 0;
  let waits = 0;
  for (let region = 0; region < regions; region++) {
    if (!intents.recordNow(region * REGION_BYTES, writeBytes)) {
      waits++;
      await intents.record(region * REGION_BYTES, writeBytes);
    }
    await nextTurn();
  }
  return { waits, commits: store.commits, activeRegions: intents.activeRegions };
}

test.each(['record', 'cool'] as const)(
  'an error while a commit of %s is being built fails what the commit was for, and nothing later',
  async (what) => {
    const store = new MemoryStore();
    const bitmaps = new BitmapSet(256 * MIB);
    const { log, lines } = keepLog();
    const { intents } = await openBitmaps(store, bitmaps, log);
    bitmaps.add({ name: 'nightly', persistent: true });
    expect(await intents.record(0, KIB)).toBe(OK);
    vi.spyOn(bitmaps, 'list').mockImplementationOnce(() => {
      throw new Error('out of memory');
    });
    const failed = what === 'record' ? intents.record(8 * MIB, KIB) : intents.cool(0);
    expect(await failed).toBe(EIO);
    expect(lines.map(({ message }) => message)).toContain(
      'bitmaps could not be stored because of a bug; please report it',
    );
    expect(await intents.record(16 * MIB, KIB)).toBe(OK);
    expect(await intents.cool(-1)).toBe(OK);
    const again = new BitmapSet(256 * MIB);
    await openBitmaps(store, again, log);
    expect(again.get('nightly').dirtyBytes).toBe(2 * 64 * KIB);
  },
);

test('an error while the lease is renewed fails the writes that wait, but no later ones to the same regions', async () => {
  const bitmaps = new BitmapSet(256 * MIB);
  const { intents } = await openBitmaps(new MemoryStore(), bitmaps);
  bitmaps.add({ name: 'nightly', persistent: true });
  vi.spyOn(DiskWatch.prototype, 'renew').mockRejectedValueOnce(new Error('out of memory'));
  expect(await intents.record(0, KIB)).toBe(EIO);
  expect(await intents.record(0, KIB)).toBe(OK);
  expect(bitmaps.get('nightly').dirtyBytes).toBe(64 * KIB);
});

test('a sequential writer waits only at the start, because marks are set ahead of it', async () => {
  const { waits, commits } = await writeEachRegion(REGION_BYTES, 2);
  expect(waits).toBeLessThanOrEqual(4);
  // Many marks go into one commit.
  expect(commits).toBeLessThanOrEqual(REGIONS / 8);
});

test('marks are set further ahead when commits are slow', async () => {
  // With marks four regions ahead, each fourth region would wait.
  expect((await writeEachRegion(REGION_BYTES, 16)).waits).toBeLessThanOrEqual(8);
});

test('a writer that leaves gaps is not treated as sequential: only what it writes is marked', async () => {
  const { activeRegions } = await writeEachRegion(4 * KIB, 2, 64);
  expect(activeRegions).toBe(64);
});

test('the more bitmaps record a long range, the fewer bits of each are set in one step', async () => {
  const bitmaps = new BitmapSet(256 * MIB);
  const { intents } = await openBitmaps(new MemoryStore(), bitmaps);
  const steps = vi.spyOn(bitmaps, 'markDirty');
  const longest: number[] = [];
  for (const count of [1, 49, 50]) {
    for (let i = 0; i < count; i++) {
      bitmaps.add({ name: `fine${count}.${i}`, granularityBytes: 512, persistent: true });
    }
    steps.mockClear();
    expect(await intents.record(0, 256 * MIB)).toBe(OK);
    const lengths = steps.mock.calls.map(([, length]) => length);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(256 * MIB);
    longest.push(Math.max(...lengths));
  }
  // 2^20 bits over 1, 50 and 100 bitmaps.
  expect(longest).toEqual([1, 50, 100].map((bitmapCount) => Math.min(256 * MIB, Math.floor(2 ** 29 / bitmapCount))));
});
