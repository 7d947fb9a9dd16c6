import type { PlacedClusters } from '../qcow2/placed-clusters.js';

/** What a copy thread and its owner tell each other. */

export interface CopyThreadData {
  readonly sourceFd: number;
  readonly targetFd: number;
  /** Of a `FileEnd`. */
  readonly end: SharedArrayBuffer;
  /** Not 0: nothing is to be copied any more. */
  readonly stop: Int32Array;
}

export interface CopyOrder {
  readonly offset: number;
  readonly length: number;
}

/** The last message to a thread: it ends when it has come to it, and not before it has started. */
export const END = 'end';

export type ThreadMessage = CopyOrder | typeof END;

/** A thread answers its orders in turn. */
export type CopyAnswer =
  | { readonly placed: PlacedClusters; readonly failure?: undefined }
  | { readonly failure: SystemFailure };

/** What is known of an error of the system in another thread, where errors arrive without it. */
type SystemFailure = Pick<NodeJS.ErrnoException, 'message' | 'code' | 'syscall'>;
