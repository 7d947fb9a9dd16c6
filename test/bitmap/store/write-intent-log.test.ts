import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { EIO, OK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { CommitPressure } from '../../../src/bitmap/store/commit-pressure.js';
import { DiskWatch } from '../../../src/bitmap/store/disk-watch.js';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import { regionKey } from '../../../src/bitmap/store/keys.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { keepLog } from '../../support/log-lines.js';
import { MemoryStore } from '../../support/memory-store.js';

const REGION_BYTES = MIB;
const REGIONS = 256;

afterEach(() => void vi.restoreAllMocks());

/** A store whose commits take as long as writing `turns` regions. */
class SlowStore extends MemoryStore {
  turns = 0;

  override async commit(changes: readonly Change[]): Promise<void> {
    for (let i = 0; i < this.turns; i++) await nextTurn();
    await super.commit(changes);
  }
}

function openBitmaps(
  store: MemoryStore,
  bitmaps: BitmapSet,
  log = silentLog,
  maxActiveRegions = REGIONS,
): Promise<PersistentBitmaps> {
  const sizeBytes = 256 * MIB;
  return PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    readOnly: false,
    identify: async () => ({ kind: 'file', id: '1:1', sizeBytes, modifiedAt: '1', changedAt: '1' }),
    limits: { regionBytes: REGION_BYTES, maxActiveRegions, coolAfterTicks: 5 },
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

/** The log of a disk with one bitmap. */
async function scene(maxActiveRegions = REGIONS) {
  setPressure(false);
  const store = new MemoryStore();
  const bitmaps = new BitmapSet(256 * MIB);
  const { intents } = await openBitmaps(store, bitmaps, silentLog, maxActiveRegions);
  bitmaps.add({ name: 'nightly', persistent: true });
  const write = async (offset: number, length = KIB) =>
    intents.recordNow(offset, length) ? OK : intents.record(offset, length);
  const tick = async (count = 1) => {
    for (let i = 0; i < count; i++) expect(await intents.cool(5)).toBe(OK);
  };
  const dirtyAfterCrash = async () => {
    const again = new BitmapSet(256 * MIB);
    await openBitmaps(store.copy(), again);
    return again.get('nightly').dirtyBytes;
  };
  return { store, bitmaps, intents, write, tick, dirtyAfterCrash };
}

function setPressure(isHigh: boolean): void {
  vi.spyOn(CommitPressure.prototype, 'isHigh', 'get').mockReturnValue(isHigh);
}

describe('a region of which pieces are named', () => {
  test('lets only writes to these pieces set bits without waiting', async () => {
    const { intents, write, bitmaps } = await scene();
    await write(64 * KIB);
    expect(intents.recordNow(65 * KIB, KIB)).toBe(true);
    const { dirtyBytes } = bitmaps.get('nightly');
    expect(intents.recordNow(128 * KIB, KIB)).toBe(false);
    expect(intents.recordNow(127 * KIB, 2 * KIB)).toBe(false);
    expect(bitmaps.get('nightly').dirtyBytes).toBe(dirtyBytes);
    await write(127 * KIB, 2 * KIB);
    expect(intents.recordNow(128 * KIB, 64 * KIB)).toBe(true);
  });

  test('sets no bit before its piece is durably named', async () => {
    const { store, intents, bitmaps } = await scene();
    expect(await intents.record(0, KIB)).toBe(OK);
    const seen: number[] = [];
    const commit = store.commit.bind(store);
    vi.spyOn(store, 'commit').mockImplementation(async (changes) => {
      await commit(changes);
      seen.push(bitmaps.get('nightly').dirtyBytes);
    });
    expect(await intents.record(640 * KIB, KIB)).toBe(OK);
    expect(seen).toEqual([64 * KIB]);
    expect(bitmaps.get('nightly').dirtyBytes).toBe(128 * KIB);
  });

  test('adds nothing after a crash, however long it is written slowly', async () => {
    const { write, tick, dirtyAfterCrash } = await scene();
    for (let granule = 0; granule < 100; granule++) {
      await write(granule * 7 * 64 * KIB);
      await tick();
    }
    expect(await dirtyAfterCrash()).toBe(100 * 64 * KIB);
  });

  test('cools by its age, although it is written, so that its pieces are not named for ever', async () => {
    const { intents, write, tick } = await scene();
    const active: number[] = [];
    for (let granule = 0; granule < 12; granule++) {
      await write((15 - granule) * 64 * KIB);
      active.push(intents.activeRegions);
      await tick();
    }
    await tick(6);
    expect(active).toEqual(new Array<number>(12).fill(1));
    expect(intents.activeRegions).toBe(0);
  });

  test('shares commits: writes that wait at the same time get them together', async () => {
    const { store, write } = await scene();
    await write(0);
    const { commits } = store;
    await Promise.all(Array.from({ length: 32 }, (_, granule) => write((granule + 1) * 3 * 64 * KIB)));
    expect(store.commits - commits).toBeLessThanOrEqual(2);
  });
});

describe('when commits hold writers up', () => {
  test('the regions that they write are marked whole, and adding pieces takes no more commits', async () => {
    const { store, write, dirtyAfterCrash } = await scene();
    await write(0);
    setPressure(true);
    await write(640 * KIB);
    const { commits } = store;
    for (let granule = 0; granule < 16; granule++) await write(granule * 64 * KIB);
    expect(store.commits).toBe(commits);
    expect(await dirtyAfterCrash()).toBe(MIB);
  });

  test('a region that is written on but gets hardly any new bits becomes exact again', async () => {
    const { intents, write, tick, dirtyAfterCrash } = await scene();
    setPressure(true);
    await write(0);
    setPressure(false);
    for (let i = 0; i < 4; i++) {
      await write(0);
      await tick();
    }
    expect(intents.activeRegions).toBe(0);
    expect(await dirtyAfterCrash()).toBe(64 * KIB);
    await write(128 * KIB);
    expect(await dirtyAfterCrash()).toBe(128 * KIB);
  });

  test('no region that grows cools for another to be marked whole; that one gets pieces', async () => {
    const { store, write, tick } = await scene(4);
    setPressure(true);
    // As many as may be active.
    for (let region = 0; region < 4; region++) await write(region * MIB);
    for (let granule = 1; granule < 4; granule++) {
      for (let region = 0; region < 4; region++) await write(region * MIB + granule * 64 * KIB);
      await tick();
    }
    await write(100 * MIB);
    const values = [0, 1, 2, 3, 100].map((region) => store.get(regionKey('disk', region))?.[0]);
    expect(values).toEqual([1, 1, 1, 1, 2]);
  });
});

test('a sequential writer gets pieces ahead, and no more than it has written', async () => {
  const { intents, write, bitmaps, dirtyAfterCrash } = await scene();
  let waits = 0;
  for (let granule = 0; granule < 64; granule++) {
    if (intents.recordNow(granule * 64 * KIB, 64 * KIB)) continue;
    waits++;
    await write(granule * 64 * KIB, 64 * KIB);
  }
  expect(waits).toBeLessThan(12);
  expect(bitmaps.get('nightly').dirtyBytes).toBe(4 * MIB);
  expect(await dirtyAfterCrash()).toBeLessThanOrEqual(36 * MIB);
});
