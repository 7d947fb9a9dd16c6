import type { Errno } from '../base/errno.js';
import { GIB, KIB } from '../base/units.js';

/** Records every change before it is handed to storage. */
export interface ChangeRecorder {
  /** A longer range takes too long for one step, so it must be recorded by `record`. */
  readonly sliceBytes: number;
  /** Records a change of the range without waiting. False: nothing was recorded, so call `record`. */
  recordNow(offset: number, length: number): boolean;
  /**
   * Records a change of the range, waiting if necessary; a long range yields to other work between slices. Returns an
   * errno when the change cannot be recorded; the change must not be made then.
   */
  record(offset: number, length: number): Promise<Errno>;
}

/** Words of bits that can be set in less than a millisecond. */
const WORDS_TOGETHER = 2 ** 15;
const WORD_BITS = 32;
const LEAST_SLICE_BYTES = 64 * KIB;
const LARGEST_SLICE_BYTES = GIB;

/** How long a range may be that is recorded in one step in bitmaps of these granularities. */
export function sliceBytesFor(granularities: readonly number[]): number {
  const wordsPerByte = granularities.reduce((sum, granularityBytes) => sum + 1 / (granularityBytes * WORD_BITS), 0);
  const bytes = Math.floor(WORDS_TOGETHER / wordsPerByte);
  return Math.min(Math.max(bytes, LEAST_SLICE_BYTES), LARGEST_SLICE_BYTES);
}
