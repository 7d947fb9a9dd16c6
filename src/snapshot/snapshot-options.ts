import type { OnScratchFull } from '../api/values.js';
import type { Errno } from '../base/errno.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import type { Scratch } from './scratch.js';
import type { ScratchBudget } from './scratch-budget.js';

export interface SnapshotOptions {
  /** The live disk, below the filter. */
  readonly source: BlockDevice;
  /** The size of the disk when the snapshot is attached. The disk may grow later, but not shrink below it. */
  readonly sizeBytes: number;
  /** Old data is copied in whole pieces of this size; the last one may be shorter. */
  readonly pieceBytes: number;
  /** Stores the old data. Has the same size, is sparse, and initially reads as zeroes. */
  readonly scratch: Scratch;
  /** Limits how much old data scratch may hold. */
  readonly budget: ScratchBudget;
  readonly onScratchFull: OnScratchFull;
  /** Called once, when the view breaks: with ENOSPC at the limit, otherwise with the error of the disk or scratch. */
  readonly onFailure: (errno: Errno) => void;
}
