import { describe, expect, test } from 'vitest';
import { EIO, OK } from '../../../src/base/errno.js';
import { silentLog } from '../../../src/base/log.js';
import { GIB, KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { changeDurably } from '../../../src/bitmap/store/change-durably.js';
import { inspectStore } from '../../../src/bitmap/store/inspect-store.js';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import { allArrays } from '../../../src/bitmap/store/keys.js';
import { PersistentBitmaps } from '../../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../../src/bitmap/store/sealed-store.js';
import type { Undo } from '../../../src/bitmap/undo.js';
import { MemoryStore } from '../../support/memory-store.js';
import { watchTurns } from '../../support/turns.js';

const REGION_BYTES = MIB;
/** A save of a bitmap of this disk takes several commits: its bits take 9 MiB in 1157 pages. */
const DISK_BYTES = 36 * GIB;
const GRANULE_BYTES = 512;

/** A store that can be stopped at a commit, like a server that is killed there. */
class StoppableStore extends MemoryStore {
  /** How many commits still take effect before those that never end. */
  commitsLeft = Number.POSITIVE_INFINITY;
  /** Called before each commit. */
  before: (changes: readonly Change[]) => unknown = () => {};

  override async commit(changes: readonly Change[]): Promise<void> {
    if (this.commitsLeft-- <= 0) return new Promise(() => {});
    await this.before(changes);
    await super.commit(changes);
  }
}

async function open(entries: MemoryStore, diskBytes = DISK_BYTES) {
  const bitmaps = new BitmapSet(diskBytes);
  const store = await SealedStore.over(entries);
  const persistence = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store,
    readOnly: false,
    identify: async () => ({ kind: 'file', id: '1:1', sizeBytes: diskBytes }),
    limits: { regionBytes: REGION_BYTES, maxActiveRegions: 100, coolAfterTicks: 0 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  const { intents } = persistence;
  const change = (...steps: (() => Undo)[]) =>
    changeDurably([persistence.commits], store, { apply: (undos) => void undos.push(...steps.map((step) => step())) });
  return { bitmaps, store, persistence, intents, change };
}

/** The change makes a bitmap in which every granule is dirty. */
function addDirty(bitmaps: BitmapSet, name = 'dense') {
  return () => {
    const undo = bitmaps.add({ name, granularityBytes: GRANULE_BYTES, persistent: true });
    bitmaps.markDirty(0, bitmaps.bitsBytes(GRANULE_BYTES) * 8 * GRANULE_BYTES);
    return undo;
  };
}

const pagesIn = (store: MemoryStore) => [...store.keys(allArrays('disk'))].length;

describe('a save of very many bits', () => {
  test('does not block the event loop, nor does the save after a failed one or the removal of the bits', {
    timeout: 60_000,
  }, async () => {
    const entries = new MemoryStore();
    // The bits take 32 MiB. In one step the save took 180 ms.
    const { bitmaps, intents, change } = await open(entries, 128 * GIB);
    const make = addDirty(bitmaps);
    const undo = make();
    const { longest: saving } = await watchTurns(() => change(() => undo));
    const pages = pagesIn(entries);
    expect(pages).toBeGreaterThan(4000);

    entries.failWith = EIO;
    expect(await intents.renewLease()).toBe(EIO);
    entries.failWith = undefined;
    const { result, longest: savingAgain } = await watchTurns(() => intents.renewLease());
    expect(result).toBe(OK);
    expect(pagesIn(entries)).toBe(pages);

    const { longest: removing } = await watchTurns(async () => {
      await change(() => bitmaps.remove(bitmaps.get('dense')));
      await intents.cool(0);
    });
    expect(pagesIn(entries)).toBe(0);
    expect(Math.max(saving, savingAgain, removing)).toBeLessThan(60);
  });

  test('cut short by a crash leaves the bitmaps as they were, and nothing in the store after the next load', async () => {
    const entries = new StoppableStore();
    const first = await open(entries);
    await first.change(addDirty(first.bitmaps, 'earlier'));
    const pages = pagesIn(entries);
    entries.commitsLeft = 2;
    void first.change(() => first.bitmaps.get('earlier').clear(), addDirty(first.bitmaps, 'dense'));
    while (entries.commitsLeft >= 0) await new Promise((resolve) => setImmediate(resolve));
    expect(pagesIn(entries)).toBeGreaterThan(pages);
    expect(inspectStore(await SealedStore.over(entries)).problems).toEqual([]);

    entries.commitsLeft = Number.POSITIVE_INFINITY;
    const second = await open(entries);
    expect(second.bitmaps.list()).toMatchObject([{ name: 'earlier', dirtyBytes: DISK_BYTES, inconsistent: undefined }]);
    await second.intents.cool(0);
    expect(pagesIn(entries)).toBe(pages);
    // A new array gets a number that is not that of pages left behind.
    await second.change(() => second.bitmaps.get('earlier').clear());
    await second.persistence.close();
    expect(inspectStore(await SealedStore.over(entries)).problems).toEqual([]);
    expect((await open(entries)).bitmaps.get('earlier').dirtyBytes).toBe(0);
  });

  test('misses no write that happens meanwhile', async () => {
    const entries = new StoppableStore();
    const first = await open(entries);
    await first.change(() => first.bitmaps.add({ name: 'writes', granularityBytes: GRANULE_BYTES, persistent: true }));
    expect(await first.intents.record(0, REGION_BYTES)).toBe(OK);
    // A bitmap that appears without a cut, so that writes go on while it is saved.
    addDirty(first.bitmaps)();
    first.bitmaps.get('writes').clear();
    let parts = 0;
    entries.before = () => {
      // The first region is marked whole.
      expect(first.intents.recordNow(8 * KIB + parts++ * KIB, KIB)).toBe(true);
    };
    expect(await first.intents.renewLease()).toBe(OK);
    expect(parts).toBeGreaterThan(1);
    const { dirtyBytes } = first.bitmaps.get('writes');
    expect(dirtyBytes).toBe(parts * KIB);
    // The server is killed here.
    const second = await open(entries);
    expect(second.bitmaps.get('writes').dirtyBytes).toBeGreaterThanOrEqual(dirtyBytes);
  });
});
