import type { ConnectionFacts } from '../client/detached-connection.js';

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
}

/** Whole clusters to copy. */
export interface CopyOrder {
  readonly offset: number;
  readonly length: number;
}
