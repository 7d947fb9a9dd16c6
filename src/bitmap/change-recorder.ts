import type { Errno } from '../base/errno.js';

/** Whoever has to know of a change before it is handed to storage. */
export interface ChangeRecorder {
  /** Records a change of the range. False, with nothing recorded, when that has to wait: then call `record`. */
  recordNow(offset: number, length: number): boolean;
  /** The same, and may wait. An errno when it cannot be recorded: the change must not be made then. */
  record(offset: number, length: number): Promise<Errno>;
}
