import type { Errno } from '../base/errno.js';
import { MIB } from '../base/units.js';

/** Whoever has to know of a change before it is handed to storage. */
export interface ChangeRecorder {
  /** Records a change of the range. False, with nothing recorded, when that has to wait: then call `record`. */
  recordNow(offset: number, length: number): boolean;
  /**
   * The same, and may wait; a long range gives way to others between slices. An errno when it cannot be recorded: the change must not
   * be made then.
   */
  record(offset: number, length: number): Promise<Errno>;
}

/** A range is recorded in slices of this size: a millisecond or so, also for small granules in many bitmaps. */
export const RECORDED_TOGETHER_BYTES = 16 * MIB;
