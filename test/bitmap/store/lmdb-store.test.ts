import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Key } from '../../../src/bitmap/store/key-value-store.js';
import { formatKey } from '../../../src/bitmap/store/keys.js';
import { LmdbStore } from '../../../src/bitmap/store/lmdb-store.js';
import { scratchFolder } from '../../support/scratch-folder.js';

const value = (text: string) => Buffer.from(text);

function listed(store: LmdbStore, prefix: Key): [Key, string][] {
  return [...store.keys(prefix)].map((key) => [key, store.peek(key)!.toString()]);
}

test('entries of a prefix come in the order of their keys, and no others', async () => {
  const store = await LmdbStore.open(scratchFolder());
  const keys: Key[] = [
    ['page', 'a', 1, 10],
    ['page', 'a', 1, 9],
    ['page', 'a', 10, 0],
    ['page', 'ab', 1, 0],
    ['pag', 'a', 1, 0],
    ['region', 'ä', 70_000],
    ['region', 'ä', 3],
  ];
  await store.commit(keys.map((key) => ({ key, value: value(key.join('/')) })));
  expect(listed(store, ['page', 'a', 1])).toEqual([
    [['page', 'a', 1, 9], 'page/a/1/9'],
    [['page', 'a', 1, 10], 'page/a/1/10'],
  ]);
  expect(listed(store, ['page', 'a']).map(([key]) => key)).toEqual([keys[1], keys[0], keys[2]]);
  expect(listed(store, ['region', 'ä']).map(([key]) => key)).toEqual([keys[6], keys[5]]);
  await store.close();
});

test('what was committed is there when it is opened again, and what was removed is not', async () => {
  const folder = scratchFolder();
  const first = await LmdbStore.open(folder);
  await first.commit([
    { key: ['a'], value: value('1') },
    { key: ['b'], value: value('2') },
  ]);
  await first.commit([{ key: ['a'], value: undefined }]);
  await first.close();
  const second = await LmdbStore.open(folder);
  expect(second.get(['a'])).toBeUndefined();
  expect(second.get(['b'])?.toString()).toBe('2');
  await second.unmap();
  expect(second.get(['b'])?.toString()).toBe('2');
  await second.close();
});

test('a store of a newer format is refused, with what to do', async () => {
  const folder = scratchFolder();
  const store = await LmdbStore.open(folder);
  await store.commit([{ key: formatKey, value: Buffer.from([200]) }]);
  await store.close();
  await expect(LmdbStore.open(folder)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining('has format 200, and this program knows formats up to 1'),
    hint: 'start the newer tidemark that wrote it, or choose another --state directory',
  });
});

test.each<[string, (file: Buffer) => Buffer, string]>([
  ['whose beginning is overwritten', (file) => file.fill(0xaa, 0, 4096), 'its beginning is overwritten or missing'],
  ['whose second page is overwritten', (file) => file.fill(0xaa, 4096, 8192), 'its second page is overwritten'],
  ['of less than a page', (file) => file.subarray(0, 100), 'its beginning is overwritten or missing'],
  ['of one page', (file) => file.subarray(0, 4096), 'its second page is overwritten or missing'],
  ['that was cut off', (file) => file.subarray(0, 8192), 'its end is missing'],
])('a store %s is refused, with what to do', async (_what, damage, message) => {
  const folder = scratchFolder();
  const store = await LmdbStore.open(folder);
  for (let i = 0; i < 50; i++) await store.commit([{ key: ['a', i], value: Buffer.alloc(2000, i) }]);
  await store.close();
  const file = join(folder, 'data.mdb');
  writeFileSync(file, damage(readFileSync(file)));
  await expect(LmdbStore.open(folder)).rejects.toMatchObject({
    code: 'STORE_UNUSABLE',
    message: expect.stringContaining(`is damaged: ${message}`),
    hint: expect.stringContaining('start the server with an empty one'),
  });
});
