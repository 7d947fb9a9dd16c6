import { KIB } from '../base/units.js';

/**
 * Room for a read of 256 KiB with its header: large enough to need few system calls, and small enough to stay in the
 * CPU cache between the disk read that fills it and the send that empties it.
 */
const PIECE_BYTES = 260 * KIB;
/** The most free pieces to keep. The rest is left to the garbage collector. */
const MAX_FREE_PIECES = 32;

/** Output buffers that all connections of a server share. */
export class PiecePool {
  private readonly free: Buffer[] = [];

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  give(piece: Buffer): void {
    if (this.free.length < MAX_FREE_PIECES) this.free.push(piece);
  }
}
