import { KIB } from '../base/units.js';

/**
 * A read of 256 KiB with its header: fewer, larger calls. Small enough to stay in the CPU's cache between the disk read
 * that fills it and the send that empties it.
 */
const PIECE_BYTES = 260 * KIB;
/** Pieces kept for later; with more than that free, the rest is left to the garbage collector. */
const MAX_FREE_PIECES = 32;

/** Output pieces that all connections of a server share. */
export class PiecePool {
  private readonly free: Buffer[] = [];

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  give(piece: Buffer): void {
    if (this.free.length < MAX_FREE_PIECES) this.free.push(piece);
  }
}
