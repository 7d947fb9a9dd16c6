import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { assert } from '../base/assert.js';
import { KIB, MIB } from '../base/units.js';
import { plainDescriptorOf } from '../posix/socket-descriptor.js';
import { type PagePipe, sharedPagePipe } from '../storage/device/page-pipe.js';
import type { MemoryAccount, MemoryClaim } from './memory-budget.js';
import type { Piece, PiecePool } from './piece-pool.js';

/** A client that has not yet taken this much must wait with its next request. */
const MAX_UNSENT_BYTES = 2 * MIB;
/** The same with TLS: such a socket encrypts one write a turn, and copies all that wait behind it into one. */
const MAX_UNENCRYPTED_BYTES = 256 * KIB;
/** The objects that a socket keeps for each unsent write, in addition to its bytes. */
const KEPT_WRITE_BYTES = 512;
/** While the socket is behind, a piece with less data than this is copied and not given away. */
const MIN_KEPT_PIECE_BYTES = 64 * KIB;

/**
 * The output of a connection. Replies are put into pieces from a pool, one after the other, and go to the socket when
 * `flush` is called: one write for all the answers of one pass over the input. A piece that the kernel takes at once is
 * used again, so a busy connection needs only one piece, which stays in the CPU cache.
 */
export class ReplyWriter {
  /** The number of bytes in the piece that is being filled. */
  used = 0;
  private current: Piece;
  /** Pieces filled since the last flush, and the number of bytes in each. */
  private readonly filled: Piece[] = [];
  private readonly filledUsed: number[] = [];
  /** Pieces that the socket still holds. */
  private readonly sending: Piece[] = [];
  /** Writes since the socket fell behind, all of which it keeps, and the memory of those. */
  private keptWrites = 0;
  private readonly kept: MemoryClaim;
  /** A socket with TLS encrypts what it is given while nothing is ahead of it, and keeps the rest as it is. */
  private readonly encrypts: boolean;

  constructor(
    private readonly socket: Socket,
    private readonly pool: PiecePool,
    memory: Pick<MemoryAccount, 'hold'>,
  ) {
    this.current = pool.take();
    this.kept = memory.hold(0);
    this.encrypts = socket instanceof TLSSocket;
  }

  /** The piece that is being filled. */
  get piece(): Buffer {
    return this.current.bytes;
  }

  /** False while the client is so far behind that its next request must wait for the 'drain' event of the socket. */
  get hasRoom(): boolean {
    if (this.encrypts && this.socket.writableLength >= MAX_UNENCRYPTED_BYTES) return false;
    return this.kept.bytes < MAX_UNSENT_BYTES || this.unsentBytes() < MAX_UNSENT_BYTES;
  }

  get filledCount(): number {
    return this.filled.length;
  }

  /** Adds `length` bytes in one piece to the output. The caller fills `piece` from the returned index on. */
  reserve(length: number): number {
    if (this.piece.length - this.used < length) this.nextPiece();
    const at = this.used;
    this.used += length;
    assert(this.used <= this.piece.length, 'a reservation fits into one piece');
    return at;
  }

  /** Free bytes in the current piece. Never 0, because a full piece is put aside. */
  room(): number {
    if (this.used === this.piece.length) this.nextPiece();
    return this.piece.length - this.used;
  }

  /** Removes what was put since `filledCount` and `used` had these values. Nothing may have been flushed since. */
  rollBack(filledCount: number, used: number): void {
    while (this.filled.length > filledCount) {
      this.current.release();
      this.current = this.filled.pop()!;
      this.filledUsed.pop();
    }
    this.used = used;
  }

  /** The pipe that carries pages to the socket; undefined while the socket cannot take any. */
  get pagePipe(): PagePipe | undefined {
    return this.socket.writableLength === 0 && plainDescriptorOf(this.socket) !== undefined
      ? sharedPagePipe()
      : undefined;
  }

  /** Sends everything that was put before, and then `length` bytes from `pipe`, which is empty afterwards. */
  sendPages(pipe: PagePipe, length: number): void {
    this.flush();
    let left = length;
    const fd = plainDescriptorOf(this.socket);
    if (fd !== undefined && this.socket.writableLength === 0) left -= pipe.sendTo(fd, length);
    // The socket takes no more now. The rest becomes ordinary output.
    while (left > 0) {
      const count = Math.min(left, this.room());
      pipe.take(this.piece, this.used, count);
      this.used += count;
      left -= count;
    }
  }

  /** Sends a message in a buffer of its own, after everything that was put before. The socket keeps the buffer. */
  send(message: Buffer): void {
    this.flush();
    this.countWrite();
    this.socket.write(message);
    this.count();
  }

  /** Counts the memory that the socket keeps, which may have sent something since. */
  count(): void {
    const bytes = this.unsentBytes();
    if (bytes !== this.kept.bytes) this.kept.resize(bytes);
  }

  /** Passes everything that was put to the socket. */
  flush(): void {
    for (let i = 0; i < this.filled.length; i++) {
      const piece = this.filled[i]!;
      if (this.writePiece(piece, this.filledUsed[i]!)) piece.release();
    }
    this.filled.length = 0;
    this.filledUsed.length = 0;
    if (this.used === 0) return;
    if (!this.writePiece(this.current, this.used)) this.current = this.pool.take();
    this.used = 0;
    this.count();
  }

  /** Releases everything. Pieces that the socket still holds are left to the garbage collector. */
  close(): void {
    for (const piece of this.filled) piece.release();
    this.filled.length = 0;
    this.sending.length = 0;
    this.current.release();
    this.kept.release();
  }

  private nextPiece(): void {
    this.filled.push(this.current);
    this.filledUsed.push(this.used);
    this.current = this.pool.take();
    this.used = 0;
  }

  /**
   * Before a write; says whether the socket has sent all writes before it. With TLS, that cannot be seen after a write, and
   * a socket with few unsent bytes announces no 'drain'.
   */
  private countWrite(): boolean {
    const isFirst = this.socket.writableLength === 0;
    if (isFirst) this.keptWrites = 0;
    this.keptWrites++;
    return isFirst;
  }

  private unsentBytes(): number {
    const { writableLength } = this.socket;
    if (writableLength === 0) this.keptWrites = 0;
    return writableLength + this.keptWrites * KEPT_WRITE_BYTES;
  }

  /**
   * Returns true when the piece can be filled again: the kernel took everything at once, or the bytes were copied or
   * encrypted.
   */
  private writePiece(piece: Piece, used: number): boolean {
    const { bytes } = piece;
    const isFirst = this.countWrite();
    if (used < MIN_KEPT_PIECE_BYTES && !isFirst) {
      this.socket.write(Buffer.from(bytes.subarray(0, used)));
      return true;
    }
    this.socket.write(used === bytes.length ? bytes : bytes.subarray(0, used));
    if (this.socket.writableLength === 0 || (isFirst && this.encrypts)) {
      for (const sent of this.sending) sent.release();
      this.sending.length = 0;
      return true;
    }
    this.sending.push(piece);
    return false;
  }
}
