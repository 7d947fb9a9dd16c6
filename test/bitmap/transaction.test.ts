import { expect, test } from 'vitest';
import { runToEnd } from '../../src/base/steps.js';
import { KIB, MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { FailedStep, type TransactionStep, takingSteps } from '../../src/bitmap/transaction.js';

const applyAll = (steps: readonly TransactionStep[]) => runToEnd(takingSteps(steps));

function twoDisks() {
  const [one, two] = [new BitmapSet(MIB), new BitmapSet(MIB)];
  for (const set of [one, two]) {
    set.add({ name: 'a' });
    set.add({ name: 'off', disabled: true });
    set.markDirty(0, 1);
  }
  return { one, two };
}

const facts = (...sets: BitmapSet[]) =>
  sets.map((set) => set.list().map(({ name, recording, dirtyBytes }) => ({ name, recording, dirtyBytes })));

test('all steps are taken, also on several disks', () => {
  const { one, two } = twoDisks();
  applyAll([
    { bitmaps: one, action: { type: 'clear', name: 'a' } },
    { bitmaps: two, action: { type: 'enable', name: 'off' } },
    { bitmaps: two, action: { type: 'remove', name: 'a' } },
    { bitmaps: one, action: { type: 'add', bitmap: { name: 'new' } } },
  ]);
  expect(facts(one, two)).toEqual([
    [
      { name: 'a', recording: true, dirtyBytes: 0 },
      { name: 'off', recording: false, dirtyBytes: 0 },
      { name: 'new', recording: true, dirtyBytes: 0 },
    ],
    [{ name: 'off', recording: true, dirtyBytes: 0 }],
  ]);
});

test('a refused step undoes those before it, and the error gives its index and reason', () => {
  const { one, two } = twoDisks();
  const before = facts(one, two);
  let failure: unknown;
  try {
    applyAll([
      { bitmaps: one, action: { type: 'clear', name: 'a' } },
      { bitmaps: one, action: { type: 'disable', name: 'a' } },
      { bitmaps: two, action: { type: 'remove', name: 'a' } },
      { bitmaps: two, action: { type: 'add', bitmap: { name: 'x' } } },
      { bitmaps: one, action: { type: 'merge', target: 'off', sources: [{ bitmaps: two, name: 'off' }] } },
      { bitmaps: one, action: { type: 'enable', name: 'missing' } },
    ]);
  } catch (error) {
    failure = error;
  }
  expect(failure).toBeInstanceOf(FailedStep);
  expect(failure).toMatchObject({ index: 5, cause: { code: 'BITMAP_NOT_FOUND' } });
  expect(facts(one, two)).toEqual(before);
});

test('bitmaps record writes again after an undo', () => {
  const { one } = twoDisks();
  const steps = [{ bitmaps: one, action: { type: 'clear', name: 'a' } as const }];
  applyAll(steps)();
  one.markDirty(512 * KIB, 1);
  expect(one.get('a').dirtyBytes).toBe(128 * KIB);
});

test('the sources of a merge may be on another disk', () => {
  const { one, two } = twoDisks();
  two.markDirty(512 * KIB, 1);
  applyAll([{ bitmaps: one, action: { type: 'merge', target: 'off', sources: [{ bitmaps: two, name: 'a' }] } }]);
  expect(one.get('off').dirtyBytes).toBe(128 * KIB);
});
