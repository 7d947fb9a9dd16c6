import type { ConnectionFacts } from '../client/detached-connection.js';

/** A connection that a thread has for itself. */
export interface ReceivedSource {
  readonly connection: ConnectionFacts;
  /**
   * Length of a read: a multiple of the cluster size, and small enough that a piece is still in the CPU's cache when it is
   * hashed and written.
   */
  readonly pieceBytes: number;
  /** Whether clusters that a lost connection did not bring may stay unread. Otherwise their order fails. */
  readonly mayBeLost: boolean;
}

/** Where a thread reads clusters: a disk, or a connection. */
export type CopySource = { readonly fd: number } | ReceivedSource;

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
