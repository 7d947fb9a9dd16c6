import { KIB } from '../../base/units.js';

/**
 * The memory in which the owner of a disk tells other threads where they may write without asking. Only the owner
 * changes it, except for the slots, each of which belongs to one thread.
 */
export interface PermitMemory {
  /** CLOSED or OPEN, the generation, the number of long changes under way, then the slots. */
  readonly control: Int32Array<SharedArrayBuffer>;
  /** Until when writes are allowed and the size of the disk; then for each thread when it last wrote, and how often. */
  readonly numbers: Float64Array<SharedArrayBuffer>;
  /** The generation in which each chunk of `permits` was written. Those of another generation do not count. */
  readonly generations: Int32Array<SharedArrayBuffer>;
  /** One bit for each piece of the disk. The system gives it memory where it is written. */
  readonly permits: Int32Array<SharedArrayBuffer>;
}

/** The least that a permit covers. */
export const PIECE_BYTES = 4 * KIB;
export const PIECES_IN_WORD = 32;
/** A chunk of the permits covers 16 MiB of the disk. */
export const WORDS_IN_CHUNK = 128;
export const CHUNK_BYTES = PIECE_BYTES * PIECES_IN_WORD * WORDS_IN_CHUNK;

export const CLOSED = 0;
export const OPEN = 1;

/** Indexes of `control`. */
export const STATE = 0;
export const GENERATION = 1;
export const LONG_CHANGES = 2;

/** Indexes of `numbers`. */
export const ALLOWED_UNTIL = 0;
export const SIZE_BYTES = 1;

/** Two threads do not share a line of the processor's cache, or each write of one would slow the other down. */
const LINE_BYTES = 64;
const INTS_IN_LINE = LINE_BYTES / Int32Array.BYTES_PER_ELEMENT;
const FLOATS_IN_LINE = LINE_BYTES / Float64Array.BYTES_PER_ELEMENT;

/** The index in `control` of how often a thread has begun and ended a write: it is odd during a write. */
export function passesOf(slot: number): number {
  return (slot + 1) * INTS_IN_LINE;
}

/** The index in `numbers` of when a thread last ended a write, in milliseconds since 1970. */
export function lastEndOf(slot: number): number {
  return (slot + 1) * FLOATS_IN_LINE;
}

/** The index in `numbers` of how many writes a thread has ended. */
export function writesOf(slot: number): number {
  return lastEndOf(slot) + 1;
}

/** Nothing is permitted yet. */
export function makePermitMemory(sizeBytes: number, slots: number): PermitMemory {
  const chunks = Math.ceil(sizeBytes / CHUNK_BYTES);
  return {
    control: new Int32Array(shared((slots + 1) * LINE_BYTES)),
    numbers: new Float64Array(shared((slots + 1) * LINE_BYTES)),
    generations: new Int32Array(shared(chunks * Int32Array.BYTES_PER_ELEMENT)),
    permits: new Int32Array(shared(chunks * WORDS_IN_CHUNK * Int32Array.BYTES_PER_ELEMENT)),
  };
}

function shared(bytes: number): SharedArrayBuffer {
  return new SharedArrayBuffer(bytes);
}
