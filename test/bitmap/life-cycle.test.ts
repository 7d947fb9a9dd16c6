import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CodedError } from '../../src/base/coded-error.js';
import { ExtentList } from '../../src/base/extents.js';
import { runToEnd } from '../../src/base/steps.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import type { Freeze } from '../../src/bitmap/bitmap-state.js';
import { DirtyBitmap } from '../../src/bitmap/dirty-bitmap.js';
import { type BitmapAction, FailedStep, type TransactionStep, takingSteps } from '../../src/bitmap/transaction.js';
import { propertyRuns } from '../support/property.js';

const applyAll = (steps: readonly TransactionStep[]) => runToEnd(takingSteps(steps));

/** The disk is small enough to model as a set of sectors, and the names are so few that operations often collide. */
const SECTOR = 512;
const START_SECTORS = 60;
const NAMES = ['a', 'b', 'c'];
const GRANULARITIES = [512, 1024, 4096];

/** The model of a bitmap: a plain set of sectors. */
interface ModelBitmap {
  granularityBytes: number;
  enabled: boolean;
  inconsistent: boolean;
  dirty: Set<number>;
  successor?: { enabled: boolean; dirty: Set<number> };
}

interface Model {
  sectors: number;
  bitmaps: Map<string, ModelBitmap>;
}

type Refusal = string | undefined;

function granuleSectors({ sectors }: Model, bitmap: ModelBitmap, sector: number): number[] {
  const perGranule = bitmap.granularityBytes / SECTOR;
  const first = Math.floor(sector / perGranule) * perGranule;
  return Array.from({ length: perGranule }, (_, i) => first + i).filter((one) => one < sectors);
}

function modelMark(model: Model, bitmap: ModelBitmap, dirty: Set<number>, from: number, end: number): void {
  for (let sector = from; sector < end; sector++) {
    for (const one of granuleSectors(model, bitmap, sector)) dirty.add(one);
  }
}

function modelWrite(model: Model, from: number, end: number): void {
  for (const bitmap of model.bitmaps.values()) {
    const target = bitmap.successor ?? bitmap;
    if (target.enabled) modelMark(model, bitmap, target.dirty, from, end);
  }
}

/** The obstacle that refuses an operation on one bitmap, derived by hand from QEMU's rules. */
function refusal(model: Model, name: string): Refusal {
  const bitmap = model.bitmaps.get(name);
  if (!bitmap) return 'BITMAP_NOT_FOUND';
  if (bitmap.successor) return 'BITMAP_BUSY';
  return bitmap.inconsistent ? 'BITMAP_INCONSISTENT' : undefined;
}

function modelAction(model: Model, action: BitmapAction): Refusal {
  switch (action.type) {
    case 'add': {
      const { name, granularityBytes = 65_536, disabled = false } = action.bitmap;
      if (model.bitmaps.has(name)) return 'BITMAP_EXISTS';
      model.bitmaps.set(name, { granularityBytes, enabled: !disabled, inconsistent: false, dirty: new Set() });
      return undefined;
    }
    case 'remove': {
      const refused = refusal(model, action.name);
      if (refused && refused !== 'BITMAP_INCONSISTENT') return refused;
      model.bitmaps.delete(action.name);
      return undefined;
    }
    case 'merge': {
      const refused = refusalOfMerge(
        model,
        action.target,
        action.sources.map(({ name }) => name),
      );
      if (refused) return refused;
      const target = model.bitmaps.get(action.target)!;
      for (const { name } of action.sources) {
        const source = model.bitmaps.get(name)!;
        for (const sector of [...source.dirty]) modelMark(model, target, target.dirty, sector, sector + 1);
      }
      return undefined;
    }
    default: {
      const refused = refusal(model, action.name);
      if (refused) return refused;
      const bitmap = model.bitmaps.get(action.name)!;
      if (action.type === 'clear') bitmap.dirty = new Set();
      else bitmap.enabled = action.type === 'enable';
      return undefined;
    }
  }
}

/** Names are looked up first; then the target's state is checked before the sources'. */
function refusalOfMerge(model: Model, target: string, sources: string[]): Refusal {
  if ([...sources, target].some((name) => !model.bitmaps.has(name))) return 'BITMAP_NOT_FOUND';
  return [target, ...sources].map((name) => refusal(model, name)).find((refused) => refused !== undefined);
}

function cloned(model: Model): Model {
  return structuredClone(model);
}

/** The error code of a refused operation; for a failed transaction, the code of the step that was refused. */
function codeOf(operation: () => void): Refusal {
  try {
    operation();
    return undefined;
  } catch (error) {
    const cause = error instanceof FailedStep ? error.cause : error;
    if (cause instanceof CodedError) return cause.code;
    throw error;
  }
}

function expectSame(model: Model, set: BitmapSet): void {
  expect(set.list().map(({ name }) => name)).toEqual([...model.bitmaps.keys()]);
  for (const [name, expected] of model.bitmaps) {
    const bitmap = set.get(name);
    const all = new Set([...expected.dirty, ...(expected.successor?.dirty ?? [])]);
    expect({
      name,
      recording: bitmap.recording,
      busy: bitmap.busy,
      inconsistent: bitmap.inconsistent !== undefined,
      dirtyBytes: bitmap.dirtyBytes,
      dirty: dirtySectors(bitmap, bitmap),
    }).toEqual({
      name,
      recording: (expected.successor ?? expected).enabled,
      busy: expected.successor !== undefined,
      inconsistent: expected.inconsistent,
      dirtyBytes: all.size * SECTOR,
      dirty: [...all].sort((a, b) => a - b),
    });
    if (expected.successor) {
      expect(dirtySectors(bitmap, bitmap.freeze!)).toEqual([...expected.dirty].sort((a, b) => a - b));
    }
  }
}

function dirtySectors({ sizeBytes }: DirtyBitmap, described: Pick<DirtyBitmap, 'extents'>): number[] {
  const list = new ExtentList(10_000);
  described.extents(0, sizeBytes, list);
  const sectors: number[] = [];
  let at = 0;
  list.lengths.forEach((length, i) => {
    for (const end = at + length; at < end; at += SECTOR) if (list.statuses[i] === 1) sectors.push(at / SECTOR);
  });
  return sectors;
}

/** One step of a sequence: runs it on the set and compares the result with what the model expects. */
class Step implements fc.Command<Model, BitmapSet> {
  constructor(
    private readonly text: string,
    private readonly inModel: (model: Model) => Refusal,
    private readonly inSet: (set: BitmapSet) => void,
  ) {}

  check(): boolean {
    return true;
  }

  run(model: Model, set: BitmapSet): void {
    const expected = this.inModel(model);
    expect(codeOf(() => this.inSet(set))).toBe(expected);
    expectSame(model, set);
  }

  toString(): string {
    return this.text;
  }
}

const name = fc.constantFrom(...NAMES);

/** An action whose sources are still names; their set is known only when the step runs. */
type NamedAction =
  | Exclude<BitmapAction, { type: 'merge' }>
  | { readonly type: 'merge'; readonly target: string; readonly sources: readonly string[] };

const action: fc.Arbitrary<NamedAction> = fc.oneof(
  fc.record({
    type: fc.constant('add' as const),
    bitmap: fc.record({ name, granularityBytes: fc.constantFrom(...GRANULARITIES), disabled: fc.boolean() }),
  }),
  fc.record({
    type: fc.constantFrom('remove' as const, 'clear' as const, 'enable' as const, 'disable' as const),
    name,
  }),
  fc.record({
    type: fc.constant('merge' as const),
    target: name,
    sources: fc.array(name, { minLength: 1, maxLength: 2 }),
  }),
);

function bound(set: BitmapSet, named: NamedAction): BitmapAction {
  if (named.type !== 'merge') return named;
  return { ...named, sources: named.sources.map((source) => ({ bitmaps: set, name: source })) };
}

const forModel = new BitmapSet(SECTOR);

const transaction = fc.array(action, { minLength: 1, maxLength: 4 }).map(
  (actions) =>
    new Step(
      `transaction ${JSON.stringify(actions)}`,
      (model) => {
        const trial = cloned(model);
        for (const one of actions) {
          const refused = modelAction(trial, bound(forModel, one));
          if (refused) return refused;
        }
        Object.assign(model, trial);
        return undefined;
      },
      (set) => applyAll(actions.map((one) => ({ bitmaps: set, action: bound(set, one) }))),
    ),
);

const write = fc.tuple(fc.nat(START_SECTORS * 2), fc.integer({ min: 1, max: 12 })).map(([start, length]) => {
  const within = (sectors: number): [number, number] => {
    const from = start % sectors;
    return [from, Math.min(from + length, sectors)];
  };
  return new Step(
    `write ${length} sectors at ${start}`,
    (model) => {
      modelWrite(model, ...within(model.sectors));
      return undefined;
    },
    (set) => {
      const [from, end] = within(diskSectors.get(set)!);
      set.markDirty(from * SECTOR, (end - from) * SECTOR);
    },
  );
});

const lastFreeze = new WeakMap<DirtyBitmap, Freeze>();
const options = { name: 'x', diskBytes: SECTOR, granularityBytes: SECTOR, enabled: true, persistent: false };
const ended = new DirtyBitmap(options).createSuccessor();
ended.undo();

/** The last freeze of the bitmap, even if it has ended; one that has ended if the bitmap never had a freeze. */
function freezeOf(bitmap: DirtyBitmap): Freeze {
  return lastFreeze.get(bitmap) ?? ended;
}

const successor = fc.tuple(fc.constantFrom('create', 'abdicate', 'reclaim'), name).map(
  ([what, target]) =>
    new Step(
      `${what} successor of ${target}`,
      (model) => {
        const bitmap = model.bitmaps.get(target);
        if (!bitmap) return 'BITMAP_NOT_FOUND';
        if (what === 'create') {
          if (bitmap.successor) return 'BITMAP_HAS_SUCCESSOR';
          if (bitmap.inconsistent) return 'BITMAP_INCONSISTENT';
          bitmap.successor = { enabled: bitmap.enabled, dirty: new Set() };
          return undefined;
        }
        const child = bitmap.successor;
        if (!child) return 'BITMAP_NO_SUCCESSOR';
        bitmap.dirty = what === 'abdicate' ? child.dirty : new Set([...bitmap.dirty, ...child.dirty]);
        delete bitmap.successor;
        return undefined;
      },
      (set) => {
        const bitmap = set.get(target);
        if (what === 'create') lastFreeze.set(bitmap, bitmap.createSuccessor());
        else if (what === 'abdicate') freezeOf(bitmap).abdicate('backup');
        else runToEnd(freezeOf(bitmap).reclaiming());
      },
    ),
);

const fault = name.map(
  (target) =>
    new Step(
      `${target} becomes inconsistent`,
      (model) => {
        const bitmap = model.bitmaps.get(target);
        if (!bitmap) return 'BITMAP_NOT_FOUND';
        bitmap.inconsistent = true;
        bitmap.enabled = false;
        delete bitmap.successor;
        return undefined;
      },
      (set) => set.get(target).markInconsistent('the test says so'),
    ),
);

const diskSectors = new WeakMap<BitmapSet, number>();

const resize = fc.integer({ min: 10, max: START_SECTORS * 2 }).map(
  (sectors) =>
    new Step(
      `resize to ${sectors} sectors`,
      (model) => {
        const shrinks = sectors < model.sectors;
        if (shrinks && [...model.bitmaps.values()].some((bitmap) => bitmap.successor)) return 'BITMAP_BUSY';
        const before = model.sectors;
        model.sectors = sectors;
        for (const bitmap of model.bitmaps.values()) modelResize(model, bitmap, before);
        return undefined;
      },
      (set) => {
        set.resize(sectors * SECTOR);
        diskSectors.set(set, sectors);
      },
    ),
);

/** Growing makes the new end dirty, and also the rest of the last granule if that was dirty. */
function modelResize(model: Model, bitmap: ModelBitmap, before: number): void {
  for (const one of bitmap.successor ? [bitmap, bitmap.successor] : [bitmap]) {
    const dirty = [...one.dirty].filter((sector) => sector < model.sectors);
    one.dirty = new Set(dirty);
    for (const sector of dirty) modelMark(model, bitmap, one.dirty, sector, sector + 1);
  }
  if (model.sectors > before) modelMark(model, bitmap, (bitmap.successor ?? bitmap).dirty, before, model.sectors);
}

const steps = [
  { arbitrary: write, weight: 5 },
  { arbitrary: transaction, weight: 4 },
  { arbitrary: successor, weight: 4 },
  { arbitrary: resize, weight: 1 },
  { arbitrary: fault, weight: 1 },
].flatMap(({ arbitrary, weight }) => Array.from({ length: weight }, () => arbitrary as fc.Arbitrary<Step>));

test('any sequence of writes, operations and transactions leaves the bitmaps equal to sets of sectors', {
  timeout: 300_000,
}, () => {
  fc.assert(
    fc.property(fc.commands(steps, { maxCommands: 60, size: 'max' }), (commands) => {
      fc.modelRun(() => {
        const set = new BitmapSet(START_SECTORS * SECTOR);
        diskSectors.set(set, START_SECTORS);
        return { model: { sectors: START_SECTORS, bitmaps: new Map<string, ModelBitmap>() }, real: set };
      }, commands);
    }),
    propertyRuns(3000),
  );
});
