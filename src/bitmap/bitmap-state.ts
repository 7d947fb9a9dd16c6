import { assert } from '../base/assert.js';
import type { BitArray } from '../base/bit-array.js';
import type { ExtentList } from '../base/extents.js';
import type { Steps } from '../base/steps.js';
import { noSuccessorFor } from './bitmap-refusals.js';
import { describeBits } from './dirty-bits.js';
import type { Undo } from './undo.js';

/**
 * What a bitmap counts from: the committed backup named by `backup`, or no backup at all. `none` gives the reason: the
 * bitmap is new, or a later operation broke the chain.
 */
export type BitmapBase = { readonly backup: string } | { readonly none: 'new' | 'cleared' | 'merged' | 'disabled' };

/** Everything about a bitmap that can change. */
export interface BitmapState {
  readonly diskBytes: number;
  readonly bits: BitArray;
  /** The freeze under way, and the successor, which records writes in place of `bits` meanwhile. */
  readonly frozen: { readonly by: Freeze; readonly successor: BitArray } | undefined;
  /** Applies to the bitmap and its successor alike, because it cannot change while the bitmap is frozen. */
  readonly enabled: boolean;
  readonly inconsistent: string | undefined;
  readonly base: BitmapBase;
  readonly provisional: boolean;
}

/** The current state of one bitmap. A change replaces the state, and its undo puts the old one back. */
export class CurrentState {
  constructor(
    private state: BitmapState,
    /** Called after every change. */
    private readonly changed: () => void,
  ) {}

  get now(): BitmapState {
    return this.state;
  }

  /** Returns the undo, which leaves a bitmap inconsistent if it has become so in the meantime. */
  change(parts: Partial<BitmapState>): Undo {
    const before = this.state;
    this.replace({ ...before, ...parts });
    return () => {
      const { inconsistent } = this.state;
      this.replace(inconsistent === undefined ? before : distrusted(before, inconsistent));
    };
  }

  /** The first reason counts. */
  distrust(reason: string): void {
    this.replace(distrusted(this.state, this.state.inconsistent ?? reason));
  }

  private replace(state: BitmapState): void {
    this.state = state;
    this.changed();
  }
}

function distrusted(state: BitmapState, inconsistent: string): BitmapState {
  return { ...state, inconsistent, enabled: false, frozen: undefined };
}

/**
 * One freeze of a bitmap, held by the operation that froze it. Only its holder can end it, so an operation that comes
 * late never touches what a later one has frozen.
 */
export class Freeze {
  /** Undoes the freeze itself. */
  readonly undo: Undo;

  constructor(
    private readonly state: CurrentState,
    private readonly granularityBytes: number,
    successor: BitArray,
  ) {
    this.undo = state.change({ frozen: { by: this, successor } });
  }

  /** False once it was ended or undone, or the bitmap has become inconsistent. */
  get active(): boolean {
    return this.state.now.frozen?.by === this;
  }

  /** Appends the DIRTY and clean extents of the range until `list` is full. Covers only what was written before. */
  extents(offset: number, length: number, list: ExtentList): void {
    assert(this.active, 'a freeze that has ended describes nothing');
    const { bits, diskBytes } = this.state.now;
    describeBits([bits], this.granularityBytes, diskBytes, offset, length, list);
  }

  /**
   * Ends the freeze after success: `backup` becomes the base, and only what the successor recorded stays dirty. Returns
   * the undo. @throws CodedError BITMAP_NO_SUCCESSOR
   */
  abdicate(backup: string): Undo {
    const bits = this.successor('abdicate');
    return this.state.change({ bits, frozen: undefined, base: { backup }, provisional: false });
  }

  /**
   * Ends the freeze after failure: everything recorded before and since is dirty. Runs in steps, during which no write
   * may be recorded. Does nothing if the bitmap becomes inconsistent meanwhile. Returns the undo. @throws CodedError
   * BITMAP_NO_SUCCESSOR
   */
  *reclaiming(): Steps<Undo> {
    const successor = this.successor('reclaim');
    const bits = yield* this.state.now.bits.copying();
    yield* bits.adding(successor);
    return this.active ? this.state.change({ bits, frozen: undefined }) : () => {};
  }

  private successor(operation: 'abdicate' | 'reclaim'): BitArray {
    const { frozen } = this.state.now;
    if (frozen?.by === this) return frozen.successor;
    throw noSuccessorFor(operation);
  }
}
