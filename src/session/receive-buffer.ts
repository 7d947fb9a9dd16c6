import { KIB, MIB } from '../base/units.js';

const INITIAL_BYTES = 64 * KIB;
/** A message that takes several reads to come in. */
const LONG_BYTES = 128 * KIB;
/** A buffer up to this size is kept for the next message; a larger one is for its message alone. */
const KEPT_BYTES = 1 * MIB;

/**
 * What a connection has received and not yet consumed, always in one piece: `buffer` from `start` to `end`. New bytes
 * are appended in place, so that a payload can go to storage straight from here.
 */
export class ReceiveBuffer {
  buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  start = 0;
  end = 0;
  /** Bytes, from `start` on, that the next message is known to have. */
  private neededBytes = 0;

  get length(): number {
    return this.end - this.start;
  }

  /** Everything before `start` has been dealt with; the message there needs `neededBytes` in one piece. */
  consumed(start: number, neededBytes: number): void {
    this.start = start;
    this.neededBytes = neededBytes;
  }

  /** Room for the next bytes, at least one, and enough for the message that is coming in. */
  room(): Buffer {
    if (this.start === this.end) this.reset();
    const wanted = Math.max(this.neededBytes, this.length + 1);
    if (this.start + wanted > this.buffer.length) this.makeRoom(wanted);
    if (this.end === 0) return this.buffer;
    // Up to the end of a long message and no further: what follows then begins at the front again, unmoved and cached.
    const until = this.neededBytes >= LONG_BYTES ? this.start + this.neededBytes : this.buffer.length;
    return this.buffer.subarray(this.end, Math.max(until, this.end + 1));
  }

  appended(count: number): void {
    this.end += count;
  }

  private reset(): void {
    this.start = 0;
    this.end = 0;
    if (this.buffer.length > KEPT_BYTES && this.neededBytes <= KEPT_BYTES) this.replace(KEPT_BYTES);
  }

  private makeRoom(wanted: number): void {
    if (wanted <= this.buffer.length) {
      this.buffer.copyWithin(0, this.start, this.end);
      this.end -= this.start;
      this.start = 0;
    } else {
      // Twice the message, so that what follows it need not be moved; a very large one gets just its size.
      this.replace(wanted * 2 <= KEPT_BYTES ? wanted * 2 : Math.max(wanted, KEPT_BYTES));
    }
  }

  private replace(capacityBytes: number): void {
    const next = Buffer.allocUnsafeSlow(capacityBytes);
    this.buffer.copy(next, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.buffer = next;
  }
}
