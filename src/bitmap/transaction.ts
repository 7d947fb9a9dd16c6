import type { Steps } from '../base/steps.js';
import { checkNewBits } from './bitmap-limits.js';
import type { BitmapSet, NewBitmap } from './bitmap-set.js';
import { type Undo, undoAll } from './undo.js';

/** One change to the bitmaps of one disk. */
export type BitmapAction =
  | { readonly type: 'add'; readonly bitmap: NewBitmap }
  | { readonly type: 'remove' | 'clear' | 'enable' | 'disable'; readonly name: string }
  | { readonly type: 'merge'; readonly target: string; readonly sources: readonly BitmapRef[] };

/** A bitmap on any disk, by name. */
interface BitmapRef {
  readonly bitmaps: BitmapSet;
  readonly name: string;
}

export interface TransactionStep {
  readonly bitmaps: BitmapSet;
  readonly action: BitmapAction;
}

/** A step of a transaction was refused; `cause` says why. */
export class FailedStep extends Error {
  override readonly name = 'FailedStep';

  constructor(
    readonly index: number,
    cause: unknown,
  ) {
    super(`step ${index} was refused`, { cause });
  }
}

/**
 * Runs all steps in order, or none: if one is refused, those before it are undone. Yields about once a millisecond;
 * until it has finished, nothing may be written to these disks and their bitmaps may not change. Returns the undo of
 * all steps. @throws FailedStep
 */
export function* takingSteps(steps: readonly TransactionStep[]): Steps<Undo> {
  const undos: Undo[] = [];
  let newBytes = 0;
  for (const [index, step] of steps.entries()) {
    try {
      newBytes += newBitsOf(step);
      checkNewBits(newBytes);
      undos.push(yield* taking(step));
    } catch (error) {
      undoAll(undos);
      throw new FailedStep(index, error);
    }
    yield;
  }
  return () => undoAll(undos);
}

function* taking({ bitmaps, action }: TransactionStep): Steps<Undo> {
  switch (action.type) {
    case 'add':
      return bitmaps.add(action.bitmap);
    case 'merge':
      return yield* bitmaps.get(action.target).merging(action.sources.map((source) => source.bitmaps.get(source.name)));
    case 'remove':
      return bitmaps.remove(bitmaps.get(action.name));
    default:
      return bitmaps.get(action.name)[action.type]();
  }
}

/** Bytes of new bits that a step allocates, not counting the old bits kept for its undo. */
function newBitsOf({ bitmaps, action }: TransactionStep): number {
  switch (action.type) {
    case 'add':
      // The reason why a bitmap cannot be added comes before its size.
      bitmaps.checkNew(action.bitmap);
      return bitmaps.bitsBytes(action.bitmap.granularityBytes);
    case 'merge':
      return bitmaps.bitsBytes(bitmaps.find(action.target)?.granularityBytes);
    case 'clear':
      return bitmaps.bitsBytes(bitmaps.find(action.name)?.granularityBytes);
    default:
      return 0;
  }
}
