import type { Socket } from 'node:net';
import { assert } from '../base/assert.js';
import { KIB, MIB } from '../base/units.js';
import type { MemoryAccount } from './memory-budget.js';
import type { PiecePool } from './piece-pool.js';

/** With more than that not yet taken by the client, no further request of it is begun. */
const MAX_UNSENT_BYTES = 2 * MIB;
/** A write that the socket has to keep is some objects beside its bytes. */
const KEPT_WRITE_BYTES = 512;
/** While the socket is behind, a piece that is filled less than this is not worth giving away: its bytes are copied. */
const MIN_KEPT_PIECE_BYTES = 64 * KIB;

/**
 * The output of a connection. Replies are put into pieces from a pool, one after the other, and go to the socket when
 * `flush` is called: one write for all that one pass over the input has answered. A piece that the kernel takes at
 * once is used again at once, so a busy connection keeps to one piece that stays in the CPU's cache.
 */
export class ReplyWriter {
  /** The piece being filled, and how many of its bytes are. */
  piece: Buffer;
  used = 0;
  /** Pieces that were filled since the last flush, and how many bytes of each. */
  private readonly filled: Buffer[] = [];
  private readonly filledUsed: number[] = [];
  /** Pieces that the socket holds. */
  private readonly sending: Buffer[] = [];
  /** Writes since the socket fell behind, which it keeps, and the memory that this is known to take. */
  private keptWrites = 0;
  private keptBytes = 0;

  constructor(
    private readonly socket: Socket,
    private readonly pool: PiecePool,
    private readonly memory: Pick<MemoryAccount, 'add'>,
  ) {
    this.piece = pool.take();
  }

  /** False while the client is so far behind that its next request has to wait for the socket's 'drain'. */
  get hasRoom(): boolean {
    return this.keptBytes < MAX_UNSENT_BYTES || this.unsentBytes() < MAX_UNSENT_BYTES;
  }

  get filledCount(): number {
    return this.filled.length;
  }

  /** Makes `length` bytes in one piece part of the output; the caller fills `piece` from the index returned. */
  reserve(length: number): number {
    if (this.piece.length - this.used < length) this.nextPiece();
    const at = this.used;
    this.used += length;
    assert(this.used <= this.piece.length, 'a reservation fits into one piece');
    return at;
  }

  /** Bytes left in the current piece; never 0, for a full one is put aside. */
  room(): number {
    if (this.used === this.piece.length) this.nextPiece();
    return this.piece.length - this.used;
  }

  /** Takes back what was put since `filledCount` and `used` had these values; no flush may lie in between. */
  rollBack(filledCount: number, used: number): void {
    while (this.filled.length > filledCount) {
      this.pool.give(this.piece);
      this.piece = this.filled.pop()!;
      this.filledUsed.pop();
    }
    this.used = used;
  }

  /** Sends a message that has a buffer of its own, behind everything put before. The buffer is given away. */
  send(message: Buffer): void {
    this.flush();
    this.socket.write(message);
    this.keptWrites++;
    this.count();
  }

  /** The socket may have sent something meanwhile. */
  count(): void {
    const bytes = this.unsentBytes();
    if (bytes === this.keptBytes) return;
    this.memory.add(bytes - this.keptBytes);
    this.keptBytes = bytes;
  }

  /** Hands everything put so far to the socket. */
  flush(): void {
    for (let i = 0; i < this.filled.length; i++) {
      const piece = this.filled[i]!;
      if (this.writePiece(piece, this.filledUsed[i]!)) this.pool.give(piece);
    }
    this.filled.length = 0;
    this.filledUsed.length = 0;
    if (this.used === 0) return;
    if (!this.writePiece(this.piece, this.used)) this.piece = this.pool.take();
    this.used = 0;
    this.count();
  }

  /** Gives the pieces back. What the socket still holds is left to the garbage collector. */
  close(): void {
    for (const piece of this.filled) this.pool.give(piece);
    this.filled.length = 0;
    this.sending.length = 0;
    this.pool.give(this.piece);
  }

  private nextPiece(): void {
    this.filled.push(this.piece);
    this.filledUsed.push(this.used);
    this.piece = this.pool.take();
    this.used = 0;
  }

  private unsentBytes(): number {
    const { writableLength } = this.socket;
    if (writableLength === 0) this.keptWrites = 0;
    return writableLength + this.keptWrites * KEPT_WRITE_BYTES;
  }

  /** True when the kernel took all of it at once, or it was copied, so that the piece can be filled again. */
  private writePiece(piece: Buffer, used: number): boolean {
    this.keptWrites++;
    if (used < MIN_KEPT_PIECE_BYTES && this.socket.writableLength > 0) {
      this.socket.write(Buffer.from(piece.subarray(0, used)));
      return true;
    }
    this.socket.write(used === piece.length ? piece : piece.subarray(0, used));
    if (this.socket.writableLength === 0) {
      for (const sent of this.sending) this.pool.give(sent);
      this.sending.length = 0;
      return true;
    }
    this.sending.push(piece);
    return false;
  }
}
