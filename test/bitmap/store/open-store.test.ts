import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import type { Change } from '../../../src/bitmap/store/key-value-store.js';
import { bitmapKey, formatKey, pageKey } from '../../../src/bitmap/store/keys.js';
import { LmdbStore } from '../../../src/bitmap/store/lmdb-store.js';
import { openToLook, ServerStore } from '../../../src/bitmap/store/open-store.js';
import { keepLog } from '../../support/log-lines.js';
import { scratchFolder } from '../../support/scratch-folder.js';

const page = (number: number) => pageKey('disk', 1, number);
const value = (number: number) => Buffer.alloc(2000, number);

/** The directory of a store with some pages, closed. */
async function closedStore(): Promise<string> {
  const folder = join(scratchFolder(), 'store');
  const store = await ServerStore.open(folder, keepLog().log);
  for (let i = 0; i < 50; i++) await store.entries.commit([{ key: page(i), value: value(i) }]);
  await store.close();
  return folder;
}

function change(folder: string, how: (file: Buffer) => Buffer): void {
  const file = join(folder, 'data.mdb');
  writeFileSync(file, how(readFileSync(file)));
}

/** Changes entries without updating their checksums, and leaves the store as after a crash. */
async function tamper(folder: string, changes: (lmdb: LmdbStore) => Change[]): Promise<void> {
  const lmdb = LmdbStore.open(folder);
  await lmdb.commit(changes(lmdb));
  await lmdb.close();
  rmSync(join(folder, 'closed'));
}

/** The pages that a store returns, and the damage it reports. */
function readPages({ entries }: ServerStore) {
  const pages = new Map<number, Buffer>();
  const damage = entries.read('disk', (key, content) => {
    if (key[0] === 'page') pages.set(Number(key.at(-1)), Buffer.from(content));
  });
  return { pages, damage };
}

test('committed entries are there after a close, and nothing is damaged', async () => {
  const store = await ServerStore.open(await closedStore(), keepLog().log);
  const { pages, damage } = readPages(store);
  expect([pages.size, pages.get(7), damage, store.lost]).toEqual([50, value(7), undefined, undefined]);
  await store.close();
});

test('a store of a newer format is refused, with a hint', async () => {
  const folder = await closedStore();
  const store = await ServerStore.open(folder, keepLog().log);
  await store.entries.commit([{ key: formatKey, value: Buffer.from([200]) }]);
  await store.close();
  await expect(ServerStore.open(folder, keepLog().log)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining('has format 200, but this version supports formats up to 2'),
    hint: 'start the newer tidemark that wrote it, or choose another --state directory',
  });
});

test.each<[string, (file: Buffer) => Buffer, string]>([
  ['whose beginning is overwritten', (file) => file.fill(0xaa, 0, 4096), 'its beginning is overwritten or missing'],
  ['whose second page is overwritten', (file) => file.fill(0xaa, 4096, 8192), 'its second page is overwritten'],
  ['of less than a page', (file) => file.subarray(0, 100), 'its beginning is overwritten or missing'],
  ['of one page', (file) => file.subarray(0, 4096), 'its second page is overwritten or missing'],
  ['that was cut off', (file) => file.subarray(0, 8192), 'its end is missing'],
  ['that goes back to an older commit', (file) => file.fill(0, 152, 160), 'its first two pages do not fit together'],
  ['whose pages make no sense', (file) => file.fill(0xff, 8192), ''],
])('a store %s is moved aside, and the loss is remembered until it is accepted', async (_what, damage, message) => {
  const folder = await closedStore();
  change(folder, damage);
  await expect(openToLook(folder)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining(`is damaged: ${message}`),
  });
  const { log, lines } = keepLog();
  const store = await ServerStore.open(folder, log);
  expect(lines).toMatchObject([{ level: 'error', fields: { damage: expect.stringContaining(message) } }]);
  expect(readdirSync(dirname(folder)).sort()).toEqual(['store', expect.stringMatching(/^store-damaged-\d{8}T\d{6}$/)]);
  expect(readPages(store)).toEqual({ pages: new Map(), damage: undefined });
  expect(store.lost).toContain('the store was damaged');
  await store.close();
  const next = await ServerStore.open(folder, log);
  expect(next.lost).toBe(store.lost);
  await next.acceptLoss();
  await next.close();
  const last = await ServerStore.open(folder, log);
  expect(last.lost).toBeUndefined();
  await last.close();
});

test('a page with flipped bits is reported by its key, and the other pages are returned', async () => {
  const folder = await closedStore();
  change(folder, (file) => {
    file[file.indexOf(value(7)) + 100]! ^= 4;
    return file;
  });
  const store = await ServerStore.open(folder, keepLog().log);
  const { pages, damage } = readPages(store);
  expect([pages.size, pages.has(7), damage]).toEqual([49, false, { entries: [page(7)] }]);
  await store.close();
});

test('a missing or outdated entry is noticed, and writing everything again repairs the store', async () => {
  const folder = await closedStore();
  const raw = LmdbStore.open(folder);
  const stale = raw.get(page(1));
  await raw.close();
  const first = await ServerStore.open(folder, keepLog().log);
  await first.entries.commit([{ key: page(1), value: value(77) }]);
  await first.close();
  for (const tampered of [
    { key: page(1), value: stale },
    { key: page(3), value: undefined },
  ]) {
    await tamper(folder, () => [tampered]);
    const store = await ServerStore.open(folder, keepLog().log);
    expect(readPages(store).damage?.whole).toMatch(/some of its entries are (missing|out of date)/);
    const keys = [...store.entries.keys(['page', 'disk'])];
    const anew = [
      ...keys.map((key) => ({ key, value: undefined })),
      { key: page(1), value: value(1) },
      { key: page(3), value: value(3) },
    ];
    await store.entries.commit(anew);
    expect(readPages(store)).toMatchObject({ damage: undefined });
    expect(store.lost).toBeUndefined();
    await store.close();
  }
});

test('an export that is missing as a whole is noticed', async () => {
  const folder = await closedStore();
  await tamper(folder, (lmdb) => [...lmdb.keys(['page']), ['sum', 'disk']].map((key) => ({ key, value: undefined })));
  const store = await ServerStore.open(folder, keepLog().log);
  expect(store.lost).toBe('the bitmap store is damaged: some of its entries are missing');
  await store.close();
});

test('a store without checksums is upgraded, and keeps its content', async () => {
  const folder = scratchFolder();
  const old = LmdbStore.open(folder);
  const entries = [
    { key: formatKey, value: Buffer.from([1]) },
    { key: bitmapKey('disk', 'nightly'), value: Buffer.from('{}') },
    ...Array.from({ length: 1200 }, (_, i) => ({ key: page(i), value: value(i) })),
  ];
  await old.commit(entries);
  await old.close();
  const { store: asItIs } = await openToLook(folder);
  expect(asItIs.get(page(7))).toEqual(value(7));
  await asItIs.close();
  for (let opening = 0; opening < 2; opening++) {
    const store = await ServerStore.open(folder, keepLog().log);
    const { pages, damage } = readPages(store);
    expect([pages.size, pages.get(1199), damage, store.lost]).toEqual([1200, value(1199), undefined, undefined]);
    expect(store.entries.get(bitmapKey('disk', 'nightly'))?.toString()).toBe('{}');
    await store.close();
  }
});
