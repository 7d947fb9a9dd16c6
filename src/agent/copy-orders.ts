import type { ConnectionFacts } from '../client/detached-connection.js';
import type { PlacedClusters } from '../qcow2/clusters.js';

/** Messages between a copy thread and its owner. */

/** Where a thread reads clusters: a disk, or a connection of its own. */
export type CopySource =
  | { readonly fd: number }
  | {
      readonly connection: ConnectionFacts;
      /** Length of a read: a multiple of the cluster size. */
      readonly pieceBytes: number;
    };

export interface CopyThreadData {
  readonly source: CopySource;
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
  | { readonly failure: CopyFailure };

/** What is left of an error when it is sent between threads: the fields of a system error, or those of an NBD client. */
export interface CopyFailure extends Pick<NodeJS.ErrnoException, 'message' | 'code' | 'syscall'> {
  /** Whether it is an NbdClientError. */
  readonly isOfClient: boolean;
  readonly hint?: string | undefined;
}
