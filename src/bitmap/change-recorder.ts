import type { Errno } from '../base/errno.js';
import { MIB } from '../base/units.js';

/** Records every change before it is handed to storage. */
export interface ChangeRecorder {
  /** Records a change of the range without waiting. False: nothing was recorded, so call `record`. */
  recordNow(offset: number, length: number): boolean;
  /**
   * Records a change of the range, waiting if necessary; a long range yields to other work between slices. Returns an
   * errno when the change cannot be recorded; the change must not be made then.
   */
  record(offset: number, length: number): Promise<Errno>;
}

/** Slice size for recording long ranges: about a millisecond each, even with many bitmaps of small granules. */
export const RECORDED_TOGETHER_BYTES = 16 * MIB;
