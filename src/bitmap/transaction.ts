import type { BitmapSet, NewBitmap } from './bitmap-set.js';
import { type Undo, undoable } from './undo.js';

/** One change to the bitmaps of one disk. */
export type BitmapAction =
  | { readonly type: 'add'; readonly bitmap: NewBitmap }
  | { readonly type: 'remove' | 'clear' | 'enable' | 'disable'; readonly name: string }
  | { readonly type: 'merge'; readonly target: string; readonly sources: readonly BitmapRef[] };

/** A bitmap by name, of whichever disk. */
interface BitmapRef {
  readonly bitmaps: BitmapSet;
  readonly name: string;
}

export interface TransactionStep {
  readonly bitmaps: BitmapSet;
  readonly action: BitmapAction;
}

/** Which step of a transaction was refused; `cause` says why. */
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
 * Takes all steps, one after the other, or none: the first that is refused undoes those before it. It does not wait,
 * so nothing else can happen in between. Returns what takes all of them back. @throws FailedStep
 */
export function applySteps(steps: readonly TransactionStep[]): Undo {
  return undoable((undos) => {
    steps.forEach((step, index) => {
      try {
        undos.push(apply(step));
      } catch (error) {
        throw new FailedStep(index, error);
      }
    });
  });
}

function apply({ bitmaps, action }: TransactionStep): Undo {
  switch (action.type) {
    case 'add':
      return bitmaps.add(action.bitmap);
    case 'merge':
      return bitmaps.merge(
        action.target,
        action.sources.map((source) => source.bitmaps.get(source.name)),
      );
    default:
      return bitmaps[action.type](action.name);
  }
}
