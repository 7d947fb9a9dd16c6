import { ENOSPC, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { PieceMap } from './piece-map.js';
import type { Scratch } from './scratch.js';
import type { ScratchBudget } from './scratch-budget.js';

/**
 * Keeps the old data of pieces: in scratch, at the offset that it has on the disk. Pieces of zeroes are not written,
 * because scratch is sparse and reads as zeroes.
 */
export class KeptData {
  private storedBytes = 0;

  constructor(
    private readonly pieces: PieceMap,
    private readonly scratch: Scratch,
    private readonly budget: ScratchBudget,
  ) {}

  /** Bytes of data that are in scratch or on the way there. */
  get usedBytes(): number {
    return this.storedBytes;
  }

  /** Whether the budget allows one more piece. */
  hasRoomFor(index: number): boolean {
    return this.budget.allows(this.pieces.bytesIn(index, index + 1));
  }

  /** Keeps and settles pieces; `buffer` begins with their data. If it fails, some of them may be settled. */
  keepNow(buffer: Buffer, from: number, end: number): Errno | typeof WOULD_BLOCK {
    for (let at = from; at < end; ) {
      const stop = this.endOfKind(buffer, from, at, end);
      if (this.isZero(buffer, from, at)) this.pieces.markHoles(at, stop);
      else {
        const errno = this.storeNow(buffer, from, at, stop);
        if (errno !== OK) return errno;
      }
      at = stop;
    }
    return OK;
  }

  /** The same, but waits for scratch. */
  async keep(buffer: Buffer, from: number, end: number): Promise<Errno> {
    for (let at = from; at < end; ) {
      const stop = this.endOfKind(buffer, from, at, end);
      if (this.isZero(buffer, from, at)) this.pieces.markHoles(at, stop);
      else {
        const errno = await this.store(buffer, from, at, stop);
        if (errno !== OK) return errno;
      }
      at = stop;
    }
    return OK;
  }

  /** Keeps and settles one piece, whatever its size. `write` writes its data to scratch. */
  async keepWhole(index: number, write: () => Promise<Errno>): Promise<Errno> {
    const bytes = this.pieces.bytesIn(index, index + 1);
    if (!this.take(bytes)) return ENOSPC;
    const errno = await write();
    if (errno === OK) this.pieces.markStored(index, index + 1);
    else this.giveBack(bytes);
    return errno;
  }

  /** Frees the scratch space of released pieces, which nobody copies any more. */
  async free(from: number, end: number): Promise<Errno> {
    const bytes = this.pieces.forgetStored(from, end);
    const errno = await this.scratch.trim(this.pieces.offsetOf(from), this.pieces.bytesIn(from, end));
    if (errno === OK) this.giveBack(bytes);
    return errno;
  }

  private storeNow(buffer: Buffer, first: number, from: number, end: number): Errno | typeof WOULD_BLOCK {
    const { pieces } = this;
    const bytes = pieces.bytesIn(from, end);
    if (!this.take(bytes)) return ENOSPC;
    const errno = this.scratch.writeNow(buffer, pieces.bytesIn(first, from), bytes, pieces.offsetOf(from));
    if (errno === OK) pieces.markStored(from, end);
    else this.giveBack(bytes);
    return errno;
  }

  private async store(buffer: Buffer, first: number, from: number, end: number): Promise<Errno> {
    const now = this.storeNow(buffer, first, from, end);
    if (now !== WOULD_BLOCK) return now;
    const { pieces } = this;
    const bytes = pieces.bytesIn(from, end);
    if (!this.take(bytes)) return ENOSPC;
    const errno = await this.scratch.write(buffer, pieces.bytesIn(first, from), bytes, pieces.offsetOf(from));
    if (errno === OK) pieces.markStored(from, end);
    else this.giveBack(bytes);
    return errno;
  }

  /** Where the run of pieces that starts at `at` and has only zeroes, or only pieces with data, ends. */
  private endOfKind(buffer: Buffer, first: number, at: number, end: number): number {
    let stop = at + 1;
    if (stop === end) return stop;
    const zero = this.isZero(buffer, first, at);
    while (stop < end && this.isZero(buffer, first, stop) === zero) stop++;
    return stop;
  }

  private isZero(buffer: Buffer, first: number, index: number): boolean {
    const start = this.pieces.bytesIn(first, index);
    if (buffer[start] !== 0) return false;
    const end = start + this.pieces.bytesIn(index, index + 1);
    // Every byte equals the one before it.
    return buffer.compare(buffer, start, end - 1, start + 1, end) === 0;
  }

  private take(bytes: number): boolean {
    const taken = this.budget.take(bytes);
    if (taken) this.storedBytes += bytes;
    return taken;
  }

  private giveBack(bytes: number): void {
    this.budget.giveBack(bytes);
    this.storedBytes -= bytes;
  }
}
