import { KIB } from '../base/units.js';

/**
 * Room for a read of 256 KiB with its header: large enough to need few system calls, and small enough to stay in the
 * CPU cache between the disk read that fills it and the send that empties it.
 */
const PIECE_BYTES = 260 * KIB;
/** The most free pieces to keep. The rest is left to the garbage collector. */
const MAX_FREE_PIECES = 32;

/** A buffer for output. Whoever takes it releases it, or leaves it to the garbage collector. */
export class Piece {
  readonly bytes = Buffer.allocUnsafeSlow(PIECE_BYTES);
  isTaken = true;

  constructor(private readonly pool: PiecePool) {}

  /** Returns it to the pool. Only the first call after it was taken does something. */
  release(): void {
    if (!this.isTaken) return;
    this.isTaken = false;
    this.pool.keep(this);
  }
}

/** Output buffers that all connections of a server share. */
export class PiecePool {
  private readonly free: Piece[] = [];

  take(): Piece {
    const piece = this.free.pop();
    if (!piece) return new Piece(this);
    piece.isTaken = true;
    return piece;
  }

  /** For `Piece` alone. */
  keep(piece: Piece): void {
    if (this.free.length < MAX_FREE_PIECES) this.free.push(piece);
  }
}
