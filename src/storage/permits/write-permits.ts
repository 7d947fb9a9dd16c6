import { assert } from '../../base/assert.js';
import { maskOf } from '../../base/word-mask.js';
import {
  ALLOWED_UNTIL,
  CHUNK_BYTES,
  CLOSED,
  GENERATION,
  LONG_CHANGES,
  lastEndOf,
  makePermitMemory,
  OPEN,
  type PermitMemory,
  PIECE_BYTES,
  PIECES_IN_WORD,
  passesOf,
  SIZE_BYTES,
  STATE,
  WORDS_IN_CHUNK,
  writesOf,
} from './permit-memory.js';
import { PermittedWrites } from './permitted-writes.js';

/** How often to look again in the next turn of the event loop. A thread writes for some microseconds. */
const LOOKS_AT_ONCE = 50;
/** Then there is a timer before each look, one millisecond longer each time. A disk that hangs may do so for hours. */
const LONGEST_WAIT_MILLISECONDS = 100;

export interface WritePermitsOptions {
  readonly sizeBytes: number;
  /** How many threads can write. Each has a slot from 0 on. */
  readonly slots: number;
  /**
   * What is permitted around a write: the blocks of this size, a power of two of bytes, that it touches. If it is less than
   * a piece, only the pieces that were written whole. Asked after each time that the permits were withdrawn.
   */
  readonly unitBytes: () => number;
}

/**
 * Which writes other threads may make to a disk without asking its owner. A piece is permitted after the owner has
 * written it: then its bits are set in all bitmaps and durably covered, and its old data is saved for all views. That
 * stays so until bitmaps or views change, for which the owner withdraws all permits.
 *
 * A thread that writes marks its slot, looks whether the permits are open, and only then looks at them; the owner
 * closes them, and then looks at the slots. So after `close` and `quiet` no other thread writes, as after a quiescent
 * state in RCU.
 */
export class WritePermits {
  readonly memory: PermitMemory;
  private generation = 1;
  private unitBytes: number | undefined;

  constructor(private readonly options: WritePermitsOptions) {
    this.memory = makePermitMemory(options.sizeBytes, options.slots);
    this.memory.control[GENERATION] = this.generation;
    this.memory.numbers[ALLOWED_UNTIL] = Number.POSITIVE_INFINITY;
    this.resize(options.sizeBytes);
  }

  /** The size of the disk, for the threads. The permits cover no more of it than at first. */
  resize(sizeBytes: number): void {
    this.memory.numbers[SIZE_BYTES] = sizeBytes;
  }

  /** Closes the permits once this time has come, in milliseconds since 1970. */
  allowUntil(milliseconds: number): void {
    this.memory.numbers[ALLOWED_UNTIL] = milliseconds;
  }

  /**
   * The owner has just written this range without waiting, so every condition of a write is met now: permits the range
   * and opens the permits. A write of no bytes meets none, because nothing is recorded for it.
   */
  grantAndOpen(offset: number, length: number): void {
    if (length === 0) return;
    this.grant(offset, length);
    const { control } = this.memory;
    if (control[STATE] !== OPEN) Atomics.store(control, STATE, OPEN);
  }

  /** The owner has written this range, and its bitmaps and views have not changed since it began. */
  grant(offset: number, length: number): void {
    if (length === 0) return;
    this.unitBytes ??= Math.min(this.options.unitBytes(), CHUNK_BYTES);
    const { unitBytes } = this;
    const end = offset + length;
    if (unitBytes < PIECE_BYTES) this.permit(Math.ceil(offset / PIECE_BYTES), Math.floor(end / PIECE_BYTES));
    else {
      const unitPieces = unitBytes / PIECE_BYTES;
      this.permit(Math.floor(offset / unitBytes) * unitPieces, Math.ceil(end / unitBytes) * unitPieces);
    }
  }

  /** From now on no write begins elsewhere. The permits stay. */
  close(): void {
    Atomics.store(this.memory.control, STATE, CLOSED);
  }

  /** The same, and withdraws all permits. Nothing is permitted again before all threads are quiet. */
  withdraw(): void {
    this.close();
    this.unitBytes = undefined;
    // 0 is the generation of chunks that were never written.
    this.generation = (this.generation % 0x7fff_ffff) + 1;
    Atomics.store(this.memory.control, GENERATION, this.generation);
  }

  /** Makes other threads ask before each write until the returned function is called, because they would wait. */
  duringLongChange(): () => void {
    const { control } = this.memory;
    Atomics.add(control, LONG_CHANGES, 1);
    return () => void Atomics.sub(control, LONG_CHANGES, 1);
  }

  /** Resolves when every write that another thread makes now has ended. */
  async quiet(): Promise<void> {
    for (let slot = 0; slot < this.options.slots; slot++) {
      const passes = this.passes(slot);
      for (let look = 0; isInside(passes) && this.passes(slot) === passes; look++) {
        await new Promise<void>((resolve) => {
          if (look < LOOKS_AT_ONCE) setImmediate(resolve);
          else setTimeout(resolve, Math.min(look - LOOKS_AT_ONCE + 1, LONGEST_WAIT_MILLISECONDS));
        });
      }
    }
  }

  /** The thread of this slot has ended, perhaps in the middle of a write, which the system may have made. */
  leave(slot: number): void {
    if (!isInside(this.passes(slot))) return;
    new PermittedWrites(this.memory, slot).end(true);
  }

  /** How many writes other threads make now. */
  get inFlight(): number {
    return this.slots().filter((slot) => isInside(this.passes(slot))).length;
  }

  /** How many writes other threads have ended. */
  get finished(): number {
    return this.slots().reduce((sum, slot) => sum + this.memory.numbers[writesOf(slot)]!, 0);
  }

  /** When another thread last ended a write, in milliseconds since 1970. */
  get lastEndedAt(): number {
    return Math.max(0, ...this.slots().map((slot) => this.memory.numbers[lastEndOf(slot)]!));
  }

  private slots(): number[] {
    return Array.from({ length: this.options.slots }, (_, slot) => slot);
  }

  private passes(slot: number): number {
    return Atomics.load(this.memory.control, passesOf(slot));
  }

  /** Permits the pieces from `from` up to and without `end`, as far as there are permits. */
  private permit(from: number, end: number): void {
    const { permits } = this.memory;
    const last = Math.min(end, permits.length * PIECES_IN_WORD) - 1;
    if (from > last) return;
    const lastWord = Math.floor(last / PIECES_IN_WORD);
    for (let word = Math.floor(from / PIECES_IN_WORD); word <= lastWord; word++) {
      const mask = maskOf(word, from, last + 1);
      this.renewChunk(Math.floor(word / WORDS_IN_CHUNK));
      const before = permits[word]!;
      if ((before & mask) !== mask) Atomics.store(permits, word, before | mask);
    }
  }

  /** Clears a chunk that was written in an earlier generation. No thread looks at it until it has the new one. */
  private renewChunk(chunk: number): void {
    const { generations, permits } = this.memory;
    assert(chunk < generations.length, 'a permit lies in a chunk');
    if (generations[chunk] === this.generation) return;
    permits.fill(0, chunk * WORDS_IN_CHUNK, (chunk + 1) * WORDS_IN_CHUNK);
    Atomics.store(generations, chunk, this.generation);
  }
}

function isInside(passes: number): boolean {
  return (passes & 1) === 1;
}
