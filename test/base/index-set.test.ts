import { expect, test } from 'vitest';
import { IndexSet } from '../../src/base/index-set.js';

/** Counts the words that `search` reads, by wrapping the levels in proxies. */
function wordsRead(set: IndexSet, search: () => number): number {
  const inner = set as unknown as { levels: Uint32Array[] };
  const plain = [...inner.levels];
  let reads = 0;
  inner.levels.forEach((level, index) => {
    inner.levels[index] = new Proxy(level, {
      get(target, key) {
        if (typeof key === 'string' && /^\d+$/.test(key)) reads++;
        const value = Reflect.get(target, key, target) as unknown;
        return value;
      },
    });
  });
  search();
  plain.forEach((level, index) => {
    inner.levels[index] = level;
  });
  return reads;
}

test('members are found in order, and removed ones are not found', () => {
  const set = new IndexSet(100_000);
  for (const member of [0, 31, 32, 1024, 99_999]) set.add(member);
  set.remove(32);
  const found: number[] = [];
  for (let at = set.next(0); at >= 0; at = set.next(at + 1)) found.push(at);
  expect(found).toEqual([0, 31, 1024, 99_999]);
});

test('a full set holds exactly the numbers below the capacity', () => {
  const set = new IndexSet(70);
  set.addAll();
  expect(set.next(69)).toBe(69);
  expect(set.next(70)).toBe(-1);
});

test('a search in a set of 8 million numbers reads only a few words', () => {
  const set = new IndexSet(2 ** 23);
  set.add(2 ** 23 - 5);
  expect(wordsRead(set, () => set.next(0))).toBeLessThan(16);
  expect(wordsRead(set, () => set.next(2 ** 23 - 4))).toBeLessThan(16);
});
