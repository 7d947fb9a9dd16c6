import { expect, test } from 'vitest';
import { type KeptExport, KeptExports } from '../../src/export/kept-exports.js';

const spec = (name: string) => ({ name, path: `/${name}.img` });
const names = (kept: KeptExports) => kept.list().map((one) => one.spec.name);

test('a list names each export once, with the newest last', async () => {
  const saved: string[][] = [];
  const kept = new KeptExports([], async (next) => void saved.push(next.map((one) => one.spec.name)));
  await Promise.all(['a', 'b', 'a'].map((name) => kept.keep(spec(name), 'operator')));
  await Promise.all([kept.forget('b'), kept.forget('unknown')]);
  expect(names(kept)).toEqual(['a']);
  expect(saved).toEqual([['a'], ['a', 'b'], ['b', 'a'], ['a']]);
});

test('a change that cannot be saved changes nothing', async () => {
  const before: KeptExport = { spec: spec('a'), addedAt: '2026-11-28T12:00:00.000Z', by: 'operator' };
  const kept = new KeptExports([before], () => Promise.reject(new Error('the disk is full')));
  await expect(kept.keep(spec('b'), 'operator')).rejects.toThrow('full');
  await expect(kept.forget('a')).rejects.toThrow('full');
  expect(kept.list()).toEqual([before]);
});

test('the size is left out, so that a missing image is not made again', async () => {
  const kept = new KeptExports();
  await kept.keep({ ...spec('a'), sizeBytes: 512, readOnly: true }, 'operator');
  expect(kept.list()).toMatchObject([{ spec: { ...spec('a'), readOnly: true }, by: 'operator' }]);
  expect(kept.list()[0]?.spec).not.toHaveProperty('sizeBytes');
});

test('an export with a problem is unserved until it is added again or given up', async () => {
  const kept = new KeptExports();
  for (const name of ['a', 'b', 'c']) await kept.keep(spec(name), 'operator');
  for (const name of ['a', 'b']) kept.noteProblem(name, 'it is missing');
  expect(kept.unserved()).toEqual(['a', 'b'].map((name) => ({ ...spec(name), problem: 'it is missing' })));
  await kept.keep(spec('a'), 'operator');
  expect(await Promise.all(['a', 'b', 'c'].map((name) => kept.forgetUnserved(name)))).toEqual([false, true, false]);
  expect(kept.unserved()).toEqual([]);
  expect(names(kept)).toEqual(['c', 'a']);
});
