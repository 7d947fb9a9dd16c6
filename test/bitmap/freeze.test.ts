import { describe, expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { runToEnd } from '../../src/base/steps.js';
import { GIB, KIB, MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { type Undo, undoAll } from '../../src/bitmap/undo.js';

const DISK = 1 * MIB;
const GRANULE = 64 * KIB;
const noSuccessor = expect.objectContaining({ code: 'BITMAP_NO_SUCCESSOR' });

/** A bitmap with one dirty granule before its freeze and one since. */
function frozen() {
  const set = new BitmapSet(DISK);
  set.add({ name: 'a' });
  const bitmap = set.get('a');
  set.markDirty(0, 1);
  const freeze = bitmap.createSuccessor();
  set.markDirty(8 * GRANULE, 1);
  return { set, bitmap, freeze };
}

describe('a freeze', () => {
  test('describes only what was dirty before it, also after the disk has grown', () => {
    const { set, freeze } = frozen();
    set.resize(2 * DISK);
    const list = new ExtentList(10);
    freeze.extents(0, 2 * DISK, list);
    expect(list.lengths).toEqual([GRANULE, 2 * DISK - GRANULE]);
    expect(list.statuses).toEqual([1, 0]);
  });

  test('can be undone as if it had never been', () => {
    const set = new BitmapSet(DISK);
    set.add({ name: 'a' });
    const bitmap = set.get('a');
    const { bits } = bitmap.arrays;
    const freeze = bitmap.createSuccessor();
    freeze.undo();
    expect(freeze.active).toBe(false);
    expect(bitmap.arrays).toEqual({ bits, successor: undefined });
    expect(bitmap.recordingBits()).toBe(bits);
  });

  test.each(['abdicate', 'reclaim'] as const)('that has ended by %s cannot end a later one', (how) => {
    const { bitmap, freeze } = frozen();
    if (how === 'abdicate') freeze.abdicate('first');
    else runToEnd(freeze.reclaiming());
    const later = bitmap.createSuccessor();
    expect([freeze.active, later.active]).toEqual([false, true]);
    expect(() => freeze.abdicate('first')).toThrow(noSuccessor);
    expect(() => runToEnd(freeze.reclaiming())).toThrow(noSuccessor);
    expect(later.active).toBe(true);
  });

  test('of a large bitmap is reclaimed in many steps', () => {
    const set = new BitmapSet(64 * GIB);
    set.add({ name: 'a', granularityBytes: 512 });
    set.markDirty(0, 32 * GIB);
    const freeze = set.get('a').createSuccessor();
    set.markDirty(16 * GIB, 32 * GIB);
    const reclaiming = freeze.reclaiming();
    let steps = 1;
    while (!reclaiming.next().done) steps++;
    expect(steps).toBeGreaterThan(60);
    expect(set.get('a')).toMatchObject({ busy: false, dirtyBytes: 48 * GIB });
  });

  test('is not reclaimed if the bitmap becomes inconsistent meanwhile', () => {
    const { bitmap, freeze } = frozen();
    const reclaiming = freeze.reclaiming();
    reclaiming.next();
    bitmap.markInconsistent('the store failed');
    runToEnd(reclaiming)();
    expect(bitmap).toMatchObject({ inconsistent: 'the store failed', recording: false, busy: false });
  });

  test('continues if its end is undone', () => {
    const { set, bitmap, freeze } = frozen();
    const undo = freeze.abdicate('backup');
    expect(bitmap).toMatchObject({ base: { backup: 'backup' }, busy: false, dirtyBytes: GRANULE });
    undo();
    expect(freeze.active).toBe(true);
    expect(bitmap).toMatchObject({ base: { none: 'new' }, busy: true, dirtyBytes: 2 * GRANULE });
    // Writes are recorded in the successor again.
    set.markDirty(15 * GRANULE, 1);
    freeze.abdicate('backup');
    expect(bitmap.dirtyBytes).toBe(2 * GRANULE);
  });

  test('ends when the bitmap becomes inconsistent, and no undo makes the bitmap consistent again', () => {
    const { bitmap, freeze } = frozen();
    const undo = runToEnd(freeze.reclaiming());
    bitmap.markInconsistent('the store failed');
    undo();
    expect(freeze.active).toBe(false);
    expect(bitmap).toMatchObject({ inconsistent: 'the store failed', recording: false, busy: false });
    expect(() => freeze.abdicate('backup')).toThrow(noSuccessor);
  });
});

describe('a bitmap taken back from a failed backup', () => {
  test('has everything that was dirty before and since', () => {
    const { set, bitmap, freeze } = frozen();
    const undos: Undo[] = [];
    runToEnd(set.takingBack(bitmap, freeze, undos));
    expect(bitmap).toMatchObject({ busy: false, dirtyBytes: 2 * GRANULE });
    undoAll(undos);
    expect(freeze.active).toBe(true);
  });

  test('is removed if the backup created it, frozen or not', () => {
    for (const why of [undefined, 'the store failed']) {
      const set = new BitmapSet(DISK);
      set.add({ name: 'a', provisional: true });
      const bitmap = set.get('a');
      const freeze = bitmap.createSuccessor();
      if (why !== undefined) bitmap.markInconsistent(why);
      const undos: Undo[] = [];
      runToEnd(set.takingBack(bitmap, freeze, undos));
      expect(set.list()).toEqual([]);
      undoAll(undos);
      expect(set.list()).toEqual([bitmap]);
      expect(freeze.active).toBe(why === undefined);
    }
  });

  test('is left alone if it has been replaced', () => {
    const { set, bitmap, freeze } = frozen();
    bitmap.markInconsistent('the store failed');
    set.remove(bitmap);
    set.add({ name: 'a', provisional: true });
    const other = set.get('a').createSuccessor();
    runToEnd(set.takingBack(bitmap, freeze, []));
    expect(other.active).toBe(true);
    expect(set.has(bitmap)).toBe(false);
  });
});
