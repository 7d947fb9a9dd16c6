import { expect, test } from 'vitest';
import type { Key } from '../../../src/bitmap/store/key-value-store.js';
import { LmdbStore } from '../../../src/bitmap/store/lmdb-store.js';
import { scratchFolder } from '../../support/scratch-folder.js';

const value = (text: string) => Buffer.from(text);

function listed(store: LmdbStore, prefix: Key): [Key, string][] {
  return [...store.keys(prefix)].map((key) => [key, store.peek(key)!.toString()]);
}

test('exactly the entries with a prefix are listed, in the order of their keys', async () => {
  const store = LmdbStore.open(scratchFolder());
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

test('when it is opened again, committed entries are there and removed ones are not', async () => {
  const folder = scratchFolder();
  const first = LmdbStore.open(folder);
  await first.commit([
    { key: ['a'], value: value('1') },
    { key: ['b'], value: value('2') },
  ]);
  await first.commit([{ key: ['a'], value: undefined }]);
  await first.close();
  const second = LmdbStore.open(folder);
  expect(second.get(['a'])).toBeUndefined();
  expect(second.get(['b'])?.toString()).toBe('2');
  await second.unmap();
  expect(second.get(['b'])?.toString()).toBe('2');
  await second.close();
});
