import type { Errno } from '../base/errno.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import type { Scratch } from './scratch.js';
import type { ScratchBudget } from './scratch-budget.js';

/** What happens when old data cannot be kept: the view breaks, or the write that needs the room fails. */
export type OnScratchFull = 'fail-view' | 'fail-writer';

export interface SnapshotOptions {
  /** The live disk, below the filter. */
  readonly source: BlockDevice;
  /** Of the disk when the snapshot is attached. The disk may grow later, but not shrink below it. */
  readonly sizeBytes: number;
  readonly granuleBytes: number;
  /** Takes the old data; of the same size, sparse, and reads as zeroes. */
  readonly scratch: Scratch;
  /** Of the old data that scratch may hold. */
  readonly budget: ScratchBudget;
  readonly onScratchFull: OnScratchFull;
  /** Called once, when the view breaks: with ENOSPC at the limit, else with what the disk or scratch answered. */
  readonly onFailure: (errno: Errno) => void;
}
