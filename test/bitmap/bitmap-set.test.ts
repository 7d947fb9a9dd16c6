import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { runToEnd } from '../../src/base/steps.js';
import { GIB, KIB, MIB, TIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';

const DISK = 1 * MIB;

function setWith(...names: string[]): BitmapSet {
  const set = new BitmapSet(DISK);
  for (const name of names) set.add({ name });
  return set;
}

const code = (expected: string) => expect.objectContaining({ code: expected });

test('a new bitmap is clean and records with a granularity of 64 KiB', () => {
  const bitmap = setWith('a').get('a');
  expect(bitmap).toMatchObject({ granularityBytes: 64 * KIB, recording: true, busy: false, inconsistent: undefined });
  expect(bitmap.dirtyBytes).toBe(0);
});

test('a write marks every recording bitmap at its own granularity', () => {
  const set = setWith('coarse');
  set.add({ name: 'fine', granularityBytes: 512 });
  set.add({ name: 'off', disabled: true });
  set.markDirty(1000, 100);
  expect(set.list().map((bitmap) => bitmap.dirtyBytes)).toEqual([64 * KIB, 1024, 0]);
});

test('the last granule counts only up to the end of the disk', () => {
  const set = new BitmapSet(100 * KIB);
  set.add({ name: 'a' });
  set.markDirty(100 * KIB - 512, 512);
  expect(set.get('a').dirtyBytes).toBe(36 * KIB);
});

test.each([
  [{ name: '' }, 'BITMAP_INVALID', 'Bitmap name cannot be empty'],
  [{ name: 'x'.repeat(1024) }, 'BITMAP_INVALID', 'Bitmap name too long'],
  [{ name: 'a\nb' }, 'BITMAP_INVALID', 'contains a control character'],
  [{ name: 'a' }, 'BITMAP_EXISTS', 'Bitmap already exists: a'],
  [{ name: 'b', granularityBytes: 256 }, 'BITMAP_INVALID', 'Granularity must be power of 2 and at least 512'],
  [{ name: 'b', granularityBytes: 65_000 }, 'BITMAP_INVALID', 'Granularity must be power of 2 and at least 512'],
  [{ name: 'b', granularityBytes: 4 * GIB }, 'BITMAP_INVALID', 'Granularity exceeds maximum (2147483648 bytes)'],
])('adding %j is refused: %s %s', (bitmap, expected, message) => {
  const set = setWith('a');
  expect(() => set.add(bitmap)).toThrow(message);
  expect(() => set.add(bitmap)).toThrow(code(expected));
});

test('a bitmap of more than 512 MiB is refused, and the hint gives a granularity that fits', () => {
  const set = new BitmapSet(16 * TIB);
  expect(() => set.add({ name: 'a', granularityBytes: 512 })).toThrow('Too much space will be occupied');
  expect(() => set.add({ name: 'a', granularityBytes: 512 })).toThrow(
    expect.objectContaining({ hint: 'use at least 4 KiB for this disk' }),
  );
  set.add({ name: 'a', granularityBytes: 4 * KIB });
});

test('the error for an unknown bitmap names it', () => {
  expect(() => setWith().get('nightly')).toThrow("Dirty bitmap 'nightly' not found");
});

test('a set does not have a bitmap that was removed, even if another has its name', () => {
  const set = setWith('a');
  const bitmap = set.get('a');
  const undo = set.remove(bitmap);
  expect(set.has(bitmap)).toBe(false);
  const undoAdd = set.add({ name: 'a' });
  expect(set.has(bitmap)).toBe(false);
  undoAdd();
  undo();
  expect(set.has(bitmap)).toBe(true);
  expect(set.get('a')).toBe(bitmap);
});

test('undoing a removal restores the order', () => {
  const set = setWith('a', 'b', 'c');
  set.remove(set.get('b'))();
  expect(set.list().map(({ name }) => name)).toEqual(['a', 'b', 'c']);
});

test('merging a coarser source marks every finer granule that it touches', () => {
  const set = setWith('coarse');
  set.add({ name: 'fine', granularityBytes: 4 * KIB, disabled: true });
  set.markDirty(70 * KIB, 1);
  runToEnd(set.get('fine').merging([set.get('coarse')]));
  const list = new ExtentList(10);
  set.get('fine').extents(0, DISK, list);
  expect(list.lengths).toEqual([64 * KIB, 64 * KIB, DISK - 128 * KIB]);
});

test('a merge from a bitmap of a disk of another size is refused', () => {
  const other = new BitmapSet(2 * MIB);
  other.add({ name: 'b' });
  expect(() =>
    runToEnd(
      setWith('a')
        .get('a')
        .merging([other.get('b')]),
    ),
  ).toThrow("Bitmaps are incompatible and can't be merged");
});

test('a merge changes nothing when one source is refused', () => {
  const set = setWith('target', 'good', 'busy');
  set.get('target').disable();
  set.markDirty(0, 1);
  set.get('busy').createSuccessor();
  expect(() => runToEnd(set.get('target').merging([set.get('good'), set.get('busy')]))).toThrow(code('BITMAP_BUSY'));
  expect(set.get('target').dirtyBytes).toBe(0);
});

test('a merge changes nothing when a source becomes inconsistent before it is done', () => {
  const set = setWith('target');
  const other = setWith('source');
  other.markDirty(0, 1);
  const steps = set.get('target').merging([other.get('source')]);
  steps.next();
  other.distrust('another program wrote');
  expect(() => runToEnd(steps)).toThrow(code('BITMAP_INCONSISTENT'));
  expect(set.get('target')).toMatchObject({ dirtyBytes: 0, base: { none: 'new' } });
});

test('writes to a frozen bitmap reach only its successor', () => {
  const set = setWith('a');
  set.markDirty(0, 1);
  set.get('a').createSuccessor();
  set.markDirty(512 * KIB, 1);
  const frozen = new ExtentList(10);
  set.get('a').freeze!.extents(0, DISK, frozen);
  expect(frozen.lengths).toEqual([64 * KIB, DISK - 64 * KIB]);
  expect(set.get('a').dirtyBytes).toBe(128 * KIB);
});

test('abdicating keeps only what was written since the freeze, reclaiming keeps everything', () => {
  const after = (end: 'abdicate' | 'reclaim') => {
    const set = setWith('a');
    set.markDirty(0, 1);
    set.get('a').createSuccessor();
    set.markDirty(512 * KIB, 1);
    if (end === 'abdicate') set.get('a').freeze!.abdicate('backup');
    else runToEnd(set.get('a').freeze!.reclaiming());
    set.markDirty(960 * KIB, 1);
    return set.get('a');
  };
  expect(after('abdicate')).toMatchObject({ busy: false, recording: true, dirtyBytes: 128 * KIB });
  expect(after('reclaim')).toMatchObject({ busy: false, recording: true, dirtyBytes: 192 * KIB });
});

test('a disabled bitmap has a disabled successor, and is disabled again afterwards', () => {
  const set = setWith('a');
  set.get('a').disable();
  set.get('a').createSuccessor();
  set.markDirty(0, 1);
  expect(set.get('a').recording).toBe(false);
  runToEnd(set.get('a').freeze!.reclaiming());
  expect(set.get('a')).toMatchObject({ recording: false, dirtyBytes: 0 });
});

test('when a disk grows, its new end is dirty in every bitmap, even a disabled or frozen one', () => {
  const set = setWith('on', 'off', 'frozen');
  set.get('off').disable();
  set.get('frozen').createSuccessor();
  set.resize(2 * MIB);
  expect(set.list().map((bitmap) => bitmap.dirtyBytes)).toEqual([MIB, MIB, MIB]);
  set.get('frozen').freeze!.abdicate('backup');
  expect(set.get('frozen').dirtyBytes).toBe(MIB);
});

test('shrinking is refused while a bitmap is busy', () => {
  const set = setWith('a');
  set.get('a').createSuccessor();
  expect(() => set.resize(512 * KIB)).toThrow(code('BITMAP_BUSY'));
  runToEnd(set.get('a').freeze!.reclaiming());
  set.resize(512 * KIB);
  expect(set.get('a').sizeBytes).toBe(512 * KIB);
});

test('an inconsistent bitmap records nothing, and can only be removed', () => {
  const set = setWith('a');
  set.get('a').markInconsistent('the disk was changed elsewhere');
  set.markDirty(0, 1);
  expect(set.get('a')).toMatchObject({ recording: false, inconsistent: 'the disk was changed elsewhere' });
  expect(() => set.get('a').clear()).toThrow(code('BITMAP_INCONSISTENT'));
  set.remove(set.get('a'));
});
