import { expect, test } from 'vitest';
import { runToEnd } from '../../src/base/steps.js';
import { MIB } from '../../src/base/units.js';
import {
  type BitmapOperation,
  noSuccessorFor,
  type Obstacle,
  refusalFor,
  refusedBy,
} from '../../src/bitmap/bitmap-refusals.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';

const states: Record<string, { prepare: (set: BitmapSet) => void; obstacles: readonly Obstacle[] }> = {
  plain: { prepare: () => {}, obstacles: [] },
  disabled: { prepare: (set) => set.get('a').disable(), obstacles: [] },
  frozen: { prepare: (set) => set.get('a').createSuccessor(), obstacles: ['busy', 'successor'] },
  inconsistent: { prepare: (set) => set.get('a').markInconsistent('why'), obstacles: ['inconsistent'] },
};

const perform: Record<BitmapOperation, (set: BitmapSet) => void> = {
  remove: (set) => set.remove(set.get('a')),
  clear: (set) => set.get('a').clear(),
  enable: (set) => set.get('a').enable(),
  disable: (set) => set.get('a').disable(),
  'merge-into': (set) => runToEnd(set.get('a').merging([set.get('b')])),
  'merge-from': (set) => runToEnd(set.get('b').merging([set.get('a')])),
  'create-successor': (set) => set.get('a').createSuccessor(),
  backup: (set) => set.get('a').check('backup'),
  shrink: (set) => set.resize(MIB / 2),
};

const operations = Object.keys(perform) as BitmapOperation[];
const table = Object.keys(states).flatMap((state) => operations.map((operation) => ({ state, operation })));

test.each(table)('$operation of a bitmap that is $state', ({ state, operation }) => {
  const set = new BitmapSet(MIB);
  set.add({ name: 'a' });
  set.add({ name: 'b' });
  const { prepare, obstacles } = states[state]!;
  prepare(set);
  const obstacle = refusedBy[operation].find((candidate) => obstacles.includes(candidate));
  if (!obstacle) {
    perform[operation](set);
    return;
  }
  const refusal = refusalFor('a', operation, obstacle);
  expect(() => perform[operation](set)).toThrow(
    expect.objectContaining({ code: refusal.code, message: refusal.message }),
  );
});

test("refusals use QEMU's words", () => {
  const text = (operation: BitmapOperation, obstacle: Obstacle) => refusalFor('n', operation, obstacle).message;
  expect(text('clear', 'busy')).toBe("Bitmap 'n' is currently in use by another operation and cannot be used");
  expect(text('clear', 'inconsistent')).toBe("Bitmap 'n' is inconsistent and cannot be used");
  expect(text('create-successor', 'successor')).toBe('Cannot create a successor for a bitmap that already has one');
  expect(text('create-successor', 'busy')).toBe(
    'Cannot create a successor for a bitmap that is in-use by an operation',
  );
  expect(noSuccessorFor('abdicate').message).toBe("Cannot relinquish control if there's no successor present");
  expect(noSuccessorFor('reclaim').message).toBe('Cannot reclaim a successor when none is present');
});
