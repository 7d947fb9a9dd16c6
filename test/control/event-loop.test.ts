import { expect, test } from 'vitest';
import { OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { GIB, KIB, MIB, TIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { PersistentBitmaps } from '../../src/bitmap/store/persistent-bitmaps.js';
import { SealedStore } from '../../src/bitmap/store/sealed-store.js';
import { TrackingDevice } from '../../src/bitmap/tracking-device.js';
import { Export } from '../../src/export/export.js';
import { ExportRegistry } from '../../src/export/registry.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { controlApiOver } from '../support/control-api.js';
import { put } from '../support/device-content.js';
import { MemoryDevice } from '../support/memory-device.js';
import { MemoryStore } from '../support/memory-store.js';
import { watchTurns } from '../support/turns.js';

const GRANULE = 64 * KIB;
const DISK_BYTES = 4 * TIB;
/** The bits of a bitmap of that disk take 8 MiB. Every other granule of the first part is dirty in "dense". */
const DIRTY_GRANULES = 2 ** 20;
/** Processor time. The tested operations once took seconds in one turn. */
const MAX_TURN_MILLISECONDS = 200;

async function openPersistence(bitmaps: BitmapSet, sizeBytes: number, regionBytes: number): Promise<PersistentBitmaps> {
  const store = await SealedStore.over(new MemoryStore());
  const identity = { kind: 'file', id: '1', sizeBytes, modifiedAt: '1', changedAt: '1' } as const;
  return PersistentBitmaps.open({
    ...{ exportName: 'disk', bitmaps, store, readOnly: false, log: silentLog },
    identify: async () => identity,
    limits: { regionBytes, maxActiveRegions: 1000, coolAfterTicks: 0 },
    onBitmapError: 'refuse',
  });
}

/** A large disk with persistent bitmaps. Only the beginning of the disk can be written. */
async function openLarge(): Promise<Export> {
  const disk: BlockDevice = new MemoryDevice(64 * MIB);
  Object.defineProperty(disk, 'sizeBytes', { value: DISK_BYTES });
  const bitmaps = new BitmapSet(DISK_BYTES);
  const persistence = await openPersistence(bitmaps, DISK_BYTES, 16 * MIB);
  bitmaps.add({ name: 'dense' });
  for (let i = 0; i < DIRTY_GRANULES; i++) bitmaps.markDirty(2 * i * GRANULE, 1);
  bitmaps.add({ name: 'target', disabled: true });
  // The name is so short that a body can contain it 260,000 times.
  bitmaps.add({ name: 'd', disabled: true });
  bitmaps.add({ name: 'coarse', granularityBytes: 2 * GRANULE, disabled: true });
  return new Export({ name: 'disk', description: '', path: 'memory', readOnly: false, disk, bitmaps, persistence });
}

async function serve() {
  const exports = new ExportRegistry(openLarge);
  const served = await exports.add({ name: 'disk', path: 'memory' });
  const { ask } = await controlApiOver(exports);
  // Load everything before turns are measured.
  await ask('GET', '/healthz');
  return { served, ask };
}

const bitmapUrl = (name: string) => `/v1/exports/disk/bitmaps/${name}`;
const adds = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ type: 'bitmap-add', export: 'disk', bitmap: `new${i}` }));

test.each([
  ['more sources than a merge may have', `${bitmapUrl('target')}/merge`, { sources: Array(260_000).fill('d') }],
  [
    'more sources than a transaction may have',
    '/v1/transactions',
    {
      actions: Array.from({ length: 3 }, () => ({
        ...{ type: 'bitmap-merge', export: 'disk', bitmap: 'target' },
        sources: Array(500).fill('dense'),
      })),
    },
  ],
  ['a body of very many values', '/v1/backups', { exports: Array(250_000).fill('a'), bitmap: 'nightly' }],
])('%s are refused at once', async (_what, url, body) => {
  const { ask } = await serve();
  const { result, longest } = await watchTurns(() => ask('POST', url, body));
  expect(result).toMatchObject({ status: 400, document: { code: 'BAD_REQUEST' } });
  expect(longest).toBeLessThan(MAX_TURN_MILLISECONDS);
});

test('a transaction that adds too many large bitmaps is refused, and adds none', async () => {
  const { ask, served } = await serve();
  const before = served.bitmapFacts().map(({ name }) => name);
  const { result, longest } = await watchTurns(() => ask('POST', '/v1/transactions', { actions: adds(1000) }));
  // 128 bitmaps of 8 MiB take 1 GiB.
  expect(result).toMatchObject({ status: 400, document: { code: 'BITMAP_INVALID', failedAction: 128 } });
  expect(served.bitmapFacts().map(({ name }) => name)).toEqual(before);
  expect(longest).toBeLessThan(MAX_TURN_MILLISECONDS);
});

test('a transaction that adds many large bitmaps does not block the event loop', async () => {
  const { ask } = await serve();
  const { result, longest } = await watchTurns(() => ask('POST', '/v1/transactions', { actions: adds(100) }));
  expect(result.status).toBe(200);
  expect(longest).toBeLessThan(MAX_TURN_MILLISECONDS);
});

test.each(['target', 'coarse'])('a merge of many sources into %s does not block the event loop', async (target) => {
  const { ask } = await serve();
  const sources = Array(target === 'coarse' ? 20 : 100).fill('dense');
  const { result, longest } = await watchTurns(() => ask('POST', `${bitmapUrl(target)}/merge`, { sources }));
  const dirtyBytes = DIRTY_GRANULES * GRANULE * (target === 'coarse' ? 2 : 1);
  expect(result).toMatchObject({ status: 200, document: { dirtyBytes } });
  expect(longest).toBeLessThan(MAX_TURN_MILLISECONDS);
});

test('a page of extents is too short to block the event loop, whatever limit is given', async () => {
  const { ask } = await serve();
  const { result, longest } = await watchTurns(() => ask('GET', `${bitmapUrl('dense')}/extents?limit=100000`));
  const { extents, nextOffset } = result.document as { extents: unknown[]; nextOffset: number };
  expect([extents.length, nextOffset]).toEqual([4096, 4096 * GRANULE]);
  expect(longest).toBeLessThan(MAX_TURN_MILLISECONDS);
});

test('each write that arrives during a long transaction comes entirely before it or entirely after it', async () => {
  const { ask, served } = await serve();
  await ask('POST', `${bitmapUrl('dense')}/clear`);
  const merge = { type: 'bitmap-merge', export: 'disk', bitmap: 'target', sources: Array(100).fill('dense') };
  const clear = { type: 'bitmap-clear', export: 'disk', bitmap: 'dense' };
  let made = false;
  const change = ask('POST', '/v1/transactions', { actions: [merge, ...adds(50), clear] }).then(({ status }) => {
    made = true;
    return status;
  });
  const writes: Promise<void>[] = [];
  const granules = (64 * MIB) / GRANULE;
  for (let i = 0; i < granules && !(made && i > 0); i++) {
    writes.push(put(served.device, i * GRANULE, Buffer.alloc(1, 1)));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await Promise.all(writes);
  expect(await change).toBe(200);
  const dirty = async (name: string) => {
    const { document } = await ask('GET', `${bitmapUrl(name)}/extents`);
    const { extents } = document as { extents: { offset: number; length: number; dirty: boolean }[] };
    return extents
      .filter((extent) => extent.dirty)
      .flatMap(({ offset, length }) => Array.from({ length: length / GRANULE }, (_, i) => offset / GRANULE + i));
  };
  const [before, after] = [await dirty('target'), await dirty('dense')];
  expect([...before, ...after]).toEqual(writes.map((_, i) => i));
});

const TRIMMED_BYTES = 4 * GIB - 512;

/** Bitmaps of the finest granularity, as many as `count`, in a store or in memory. */
async function fineBitmaps(count: number, regionBytes: number | undefined) {
  const bitmaps = new BitmapSet(4 * GIB);
  const persistence = regionBytes === undefined ? undefined : await openPersistence(bitmaps, 4 * GIB, regionBytes);
  for (let i = 0; i < count; i++)
    bitmaps.add({ name: `fine${i}`, granularityBytes: 512, persistent: regionBytes !== undefined });
  return { bitmaps, persistence };
}

test.each([
  // The longest turn was once 300, 85, 75 and 75 ms.
  [16, 'in the store, by small regions', 64 * KIB],
  [50, 'in the store, by small regions', 64 * KIB],
  [50, 'in the store, by large regions', 16 * MIB],
  [50, 'in memory', undefined],
])(
  'the longest possible trim, which %s fine bitmaps record %s, does not block the event loop',
  async (count, _what, regionBytes) => {
    const [trims, coolings]: number[][] = [[], []];
    // A turn also counts garbage collection and compilation, in threads that other processes slow down.
    for (let attempt = 0; attempt < 3; attempt++) {
      const { bitmaps, persistence } = await fineBitmaps(count, regionBytes);
      const disk: BlockDevice = new MemoryDevice(MIB);
      const dirtyWhenTrimmed: number[] = [];
      disk.trim = async () => {
        dirtyWhenTrimmed.push(...bitmaps.list().map(({ dirtyBytes }) => dirtyBytes));
        return OK;
      };
      const device = new TrackingDevice(disk, persistence?.intents ?? bitmaps);
      const { result, longest } = await watchTurns(() => device.trim(0, TRIMMED_BYTES));
      expect(result).toBe(OK);
      // All of it is recorded before the request reaches the storage.
      expect(dirtyWhenTrimmed).toEqual(Array(count).fill(TRIMMED_BYTES));
      trims!.push(longest);
      // The bits are stored when the regions cool. By large regions that was once one turn of 470 ms.
      const cooling = await watchTurns(async () => persistence?.intents.cool(0));
      expect(persistence?.intents.activeRegions ?? 0).toBe(0);
      coolings!.push(cooling.longest);
    }
    expect(Math.min(...trims!)).toBeLessThan(50);
    expect(Math.min(...coolings!)).toBeLessThan(80);
  },
);
