import { describe, expect, test } from 'vitest';
import { EIO, ENOSPC, OK } from '../../../src/base/errno.js';
import { KIB, MIB } from '../../../src/base/units.js';
import { BitmapSet } from '../../../src/bitmap/bitmap-set.js';
import { DiskCommits } from '../../../src/bitmap/store/disk-commits.js';
import { regionKey } from '../../../src/bitmap/store/keys.js';
import { RegionMark } from '../../../src/bitmap/store/region-mark.js';
import { RegionTable } from '../../../src/bitmap/store/region-table.js';
import { wholeOf } from '../../../src/bitmap/store/saving.js';
import { StoredBitmaps } from '../../../src/bitmap/store/stored-bitmaps.js';
import { MemoryStore } from '../../support/memory-store.js';

const GRANULE_BYTES = 64 * KIB;
const REGION_BYTES = MIB;
const DISK_BYTES = 8 * MIB;

/** Marks that name each of these regions whole. */
const marked = (...regions: number[]) => new Map(regions.map((region) => [region, RegionMark.whole(REGION_BYTES)]));

/** The commits of a disk with one bitmap, which is stored, and region 0 marked. */
async function scene() {
  const store = new MemoryStore();
  const bitmaps = new BitmapSet(DISK_BYTES);
  const stored = new StoredBitmaps('disk', bitmaps, store);
  const regions = new RegionTable(DISK_BYTES, REGION_BYTES);
  const bugs: unknown[] = [];
  const describeDisk = () => ({ key: ['export', 'disk'], value: Buffer.from('a disk') });
  const onBug = (bug: unknown) => bugs.push(bug);
  const commits = new DiskCommits({
    exportName: 'disk',
    store,
    bitmaps,
    stored,
    regions,
    describeDisk,
    onBug,
    onDoubt: () => {},
  });
  bitmaps.add({ name: 'nightly', persistent: true });
  expect(await commits.commit(async () => commits.plan({ marks: marked(0) }))).toBe(OK);
  return { store, bitmaps, bitmap: bitmaps.get('nightly'), stored, regions, commits, bugs };
}

type Scene = Awaited<ReturnType<typeof scene>>;

const keysOf = (changes: ReturnType<typeof wholeOf>) =>
  changes.map(({ key, value }) => `${value ? '' : '-'}${key.join('/')}`).sort();

/** The dirty bytes of the bitmap as another server would load it, without regard to marks. */
function storedBytes({ store }: Scene): number {
  const bitmaps = new BitmapSet(DISK_BYTES);
  new StoredBitmaps('disk', bitmaps, store).load();
  return bitmaps.get('nightly').dirtyBytes;
}

describe('a plan', () => {
  test('changes nothing until it is accepted', async () => {
    const { bitmap, bitmaps, stored, commits } = await scene();
    bitmap.clear();
    bitmaps.add({ name: 'weekly', persistent: true });
    const once = keysOf(wholeOf(stored.plan()));
    expect(once).toEqual(['bitmap/disk/nightly', 'bitmap/disk/weekly']);
    const plan = stored.plan();
    expect(keysOf(wholeOf(plan))).toEqual(once);
    plan.accept();
    expect(wholeOf(stored.plan())).toEqual([]);
    expect(wholeOf(commits.plan())).toEqual([]);
  });

  test('has everything once another was rejected', async () => {
    const { bitmaps, regions, commits } = await scene();
    bitmaps.markDirty(0, 1);
    commits.plan().reject();
    expect(commits.storeIs).toBe('doubted');
    const plan = commits.plan();
    expect(keysOf(wholeOf(plan))).toEqual([
      '-bitmap/disk/nightly',
      '-region/disk/0',
      'bitmap/disk/nightly',
      'export/disk',
      'page/disk/1/0',
      'region/disk/0',
    ]);
    plan.accept();
    expect([commits.storeIs, regions.list()]).toEqual(['believed', [0]]);
    expect(wholeOf(commits.plan())).toEqual([]);
  });

  test('marks regions only when it is accepted, and cools them at once', async () => {
    const { regions, commits } = await scene();
    const plan = commits.plan({ marks: marked(1, 2), cooling: [0] });
    expect(regions.list()).toEqual([]);
    expect(keysOf(wholeOf(plan))).toEqual(['-region/disk/0', 'region/disk/1', 'region/disk/2']);
    plan.accept();
    expect(regions.list()).toEqual([1, 2]);
  });
});

describe('a commit', () => {
  test('stores the bits of regions that cool together with the removal of their marks', async () => {
    const all = await scene();
    const { store, bitmaps, commits } = all;
    bitmaps.markDirty(0, 1);
    expect(await commits.commit(async () => commits.plan())).toBe(OK);
    expect([storedBytes(all), store.get(regionKey('disk', 0)) !== undefined]).toEqual([0, true]);
    expect(await commits.commit(async () => commits.plan({ cooling: [0] }))).toBe(OK);
    expect([storedBytes(all), store.get(regionKey('disk', 0))]).toEqual([GRANULE_BYTES, undefined]);
  });

  test.each([[[]], [[0]]])(
    'stores the bits in marked regions when a bitmap stops recording, while regions %j cool',
    async (cooling) => {
      const all = await scene();
      const { bitmap, bitmaps, commits } = all;
      bitmaps.markDirty(0, 1);
      bitmap.disable();
      expect(await commits.commit(async () => commits.plan({ cooling }))).toBe(OK);
      expect(storedBytes(all)).toBe(GRANULE_BYTES);
    },
  );

  test('that fails is not believed, nor is anything until one succeeds', async () => {
    const all = await scene();
    const { store, bitmaps, commits } = all;
    bitmaps.markDirty(0, 1);
    store.failWith = ENOSPC;
    expect(await commits.commit(async () => commits.plan({ marks: marked(1) }))).toBe(ENOSPC);
    expect(await commits.commit(async () => commits.plan())).toBe(ENOSPC);
    expect(commits.storeIs).toBe('doubted');
    store.failWith = undefined;
    expect(await commits.commit(async () => commits.plan())).toBe(OK);
    expect([commits.storeIs, storedBytes(all)]).toEqual(['believed', GRANULE_BYTES]);
    expect(store.get(regionKey('disk', 1))).toBeUndefined();
  });

  test('after one that failed names again what was named of each region, and no more', async () => {
    const { store, commits } = await scene();
    const mark = RegionMark.empty(REGION_BYTES, GRANULE_BYTES);
    mark.name(0, 1);
    expect(await commits.commit(async () => commits.plan({ marks: new Map([[1, mark]]) }))).toBe(OK);
    const before = [0, 1, 2].map((region) => store.get(regionKey('disk', region)));
    expect(before).toEqual([Buffer.from([1]), mark.encode(), undefined]);
    store.failWith = ENOSPC;
    expect(await commits.commit(async () => commits.plan({ marks: marked(1, 2) }))).toBe(ENOSPC);
    store.failWith = undefined;
    await store.commit(
      [1, 2].map((region) => ({ key: regionKey('disk', region), value: Buffer.from('the failed commit took effect') })),
    );
    expect(await commits.commit(async () => commits.plan())).toBe(OK);
    expect([0, 1, 2].map((region) => store.get(regionKey('disk', region)))).toEqual(before);
  });

  test('that fails while the store is ignored leaves it ignored; one that succeeds ends that', async () => {
    const { store, commits } = await scene();
    store.failWith = ENOSPC;
    expect(await commits.commit(async () => commits.plan({ marks: marked(1) }))).toBe(ENOSPC);
    commits.ignoreStore();
    expect(await commits.commit(async () => commits.plan())).toBe(ENOSPC);
    expect(commits.storeIs).toBe('ignored');
    store.failWith = undefined;
    expect(await commits.commit(async () => commits.plan())).toBe(OK);
    expect(commits.storeIs).toBe('believed');
  });

  test('whose plan throws has failed, and the next stores everything', async () => {
    const { commits, bugs } = await scene();
    const bug = new Error('out of memory');
    expect(await commits.commit(() => Promise.reject(bug))).toBe(EIO);
    expect([bugs, commits.storeIs]).toEqual([[bug], 'doubted']);
    expect(await commits.commit(async () => commits.plan())).toBe(OK);
    expect(commits.storeIs).toBe('believed');
  });

  test('whose plan cannot be accepted has failed too', async () => {
    const { commits } = await scene();
    const refusing = async () => {
      const accept = () => {
        throw new Error('out of memory');
      };
      return { ...commits.plan(), accept };
    };
    expect(await commits.commit(refusing)).toBe(EIO);
    expect(commits.storeIs).toBe('doubted');
  });

  test('waits for the one before it, and whoever passes is alone', async () => {
    const { commits } = await scene();
    const order: string[] = [];
    let go = () => {};
    const passing = commits.pass(
      () =>
        new Promise<void>((resolve) => {
          go = () => {
            order.push('passed');
            resolve();
          };
        }),
    );
    const committed = commits.commit(async () => {
      order.push('planned');
      return commits.plan();
    });
    const idle = commits.idle().then(() => order.push('idle'));
    await expect.poll(() => order).toEqual([]);
    go();
    await Promise.all([passing, committed, idle]);
    expect(order).toEqual(['passed', 'planned', 'idle']);
  });
});
