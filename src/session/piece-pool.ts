import { KIB } from '../base/units.js';

/** Small enough to stay in the CPU's cache between the disk read that fills it and the send that empties it. */
const PIECE_BYTES = 64 * KIB;
/** Pieces kept for later; with more than that free, the rest is left to the garbage collector. */
const MAX_FREE_PIECES = 64;

/** Output pieces that all connections of a server share. */
export class PiecePool {
  readonly pieceBytes = PIECE_BYTES;
  private readonly free: Buffer[] = [];

  take(): Buffer {
    return this.free.pop() ?? Buffer.allocUnsafeSlow(PIECE_BYTES);
  }

  give(piece: Buffer): void {
    if (this.free.length < MAX_FREE_PIECES) this.free.push(piece);
  }
}
