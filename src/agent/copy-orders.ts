import type { PlacedClusters } from '../qcow2/clusters.js';

/** Messages between a copy thread and its owner. */

export interface CopyThreadData {
  readonly sourceFd: number;
  readonly targetFd: number;
  /** Memory of a `FileEnd`. */
  readonly end: SharedArrayBuffer;
  /** Anything but 0 stops the copying. */
  readonly stop: Int32Array;
}

export interface CopyOrder {
  readonly offset: number;
  readonly length: number;
}

/** The last message to a thread. The thread ends when it reaches this message, so never before it has started. */
export const END = 'end';

export type ThreadMessage = CopyOrder | typeof END;

/** A thread answers its orders in sequence. */
export type CopyAnswer =
  | { readonly placed: PlacedClusters; readonly failure?: undefined }
  | { readonly failure: SystemFailure };

/** The fields of a system error, which an error loses when it is sent between threads. */
type SystemFailure = Pick<NodeJS.ErrnoException, 'message' | 'code' | 'syscall'>;
