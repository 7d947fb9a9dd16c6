import { expect, test } from 'vitest';
import { runToEnd } from '../../src/base/steps.js';
import { MIB } from '../../src/base/units.js';
import { type BitmapOperation, type Obstacle, refusalFor, refusedBy } from '../../src/bitmap/bitmap-refusals.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';

const states: Record<string, { prepare: (set: BitmapSet) => void; obstacles: readonly Obstacle[] }> = {
  plain: { prepare: () => {}, obstacles: ['no-successor'] },
  disabled: { prepare: (set) => set.disable('a'), obstacles: ['no-successor'] },
  frozen: { prepare: (set) => set.createSuccessor('a'), obstacles: ['busy', 'successor'] },
  inconsistent: { prepare: (set) => set.markInconsistent('a', 'why'), obstacles: ['inconsistent', 'no-successor'] },
};

const perform: Record<BitmapOperation, (set: BitmapSet) => void> = {
  remove: (set) => set.remove('a'),
  clear: (set) => set.clear('a'),
  enable: (set) => set.enable('a'),
  disable: (set) => set.disable('a'),
  'merge-into': (set) => runToEnd(set.merging('a', [set.get('b')])),
  'merge-from': (set) => runToEnd(set.merging('b', [set.get('a')])),
  'create-successor': (set) => set.createSuccessor('a'),
  abdicate: (set) => set.abdicate('a', 'backup'),
  reclaim: (set) => set.reclaim('a'),
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
  expect(text('abdicate', 'no-successor')).toBe("Cannot relinquish control if there's no successor present");
  expect(text('reclaim', 'no-successor')).toBe('Cannot reclaim a successor when none is present');
});
