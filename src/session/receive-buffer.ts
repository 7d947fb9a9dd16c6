import { KIB, MIB } from '../base/units.js';
import type { MemoryAccount, MemoryClaim } from './memory-budget.js';

const INITIAL_BYTES = 64 * KIB;
/** A message of this size takes several reads to arrive. */
const LONG_BYTES = 128 * KIB;
/** A buffer up to this size is kept for the next message. A larger one is for a single message. */
const KEPT_BYTES = 1 * MIB;

/**
 * What a connection has received and not yet consumed, always in one piece: `buffer` from `start` to `end`. New bytes
 * are appended in place, so that a payload can go to storage straight from here. Only `room` replaces the buffer,
 * because until it is called again the system may still write into the room that it returned before.
 */
export class ReceiveBuffer {
  buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  start = 0;
  end = 0;
  /** The least length of the message at `start`, as far as it is known. */
  private neededBytes = 0;
  /** How much of what arrives next is dropped. */
  private skipBytes = 0;
  /** The memory of the buffer. It is larger than the buffer when the next one is already paid for. */
  private claim: MemoryClaim;
  private isGivenAway = false;

  constructor(private readonly memory: Pick<MemoryAccount, 'hold'>) {
    this.claim = memory.hold(INITIAL_BYTES);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Whether the first `bytes` of a message have arrived. If not, they will get room in one piece. */
  has(bytes: number): boolean {
    this.neededBytes = bytes;
    return this.length >= bytes;
  }

  /** A long message has arrived as a whole. There is hardly any room behind it. */
  get hasLongMessage(): boolean {
    return this.neededBytes >= LONG_BYTES && this.length >= this.neededBytes;
  }

  /** The next `bytes`, which have arrived, have been handled. */
  consume(bytes: number): void {
    this.start += bytes;
    this.neededBytes = 0;
  }

  /** Drops the next `bytes`, even those that have not arrived yet. */
  skip(bytes: number): void {
    this.skipBytes += bytes;
    this.drop();
  }

  /** Claims memory for a large message that is arriving. While that fails, there is little room. */
  claimRoom(): boolean {
    return this.isPaid || this.claim.grow(this.neededBytes);
  }

  /** Leaves the buffer, with its memory, to the consumer of its message. */
  giveAway(): MemoryClaim {
    if (this.isGivenAway) return this.memory.hold(this.buffer.length);
    this.isGivenAway = true;
    const { claim } = this;
    this.claim = this.memory.hold(0);
    return claim;
  }

  /** Room for the next bytes: at least one, and enough for the message that is arriving if it is paid for. */
  room(): Buffer {
    const wanted = Math.max(this.isPaid ? this.neededBytes : 0, this.length + 1);
    if (this.isGivenAway) this.replace(capacityFor(wanted));
    else if (this.start === this.end) this.reset();
    if (this.start + wanted > this.buffer.length) this.makeRoom(wanted);
    if (this.end === 0) return this.buffer;
    // A long message ends its room, so that the next message starts at the front of the buffer and need not be moved.
    const until = this.neededBytes >= LONG_BYTES ? this.start + this.neededBytes : this.buffer.length;
    return this.buffer.subarray(this.end, Math.max(until, this.end + 1));
  }

  appended(count: number): void {
    this.end += count;
    if (this.skipBytes > 0) this.drop();
  }

  close(): void {
    this.claim.release();
  }

  private get isPaid(): boolean {
    return this.neededBytes <= KEPT_BYTES || this.neededBytes <= this.claim.bytes;
  }

  private drop(): void {
    const bytes = Math.min(this.skipBytes, this.length);
    this.skipBytes -= bytes;
    this.consume(bytes);
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
      this.replace(capacityFor(wanted));
    }
  }

  private replace(capacityBytes: number): void {
    const next = Buffer.allocUnsafeSlow(capacityBytes);
    this.claim.resize(capacityBytes);
    this.isGivenAway = false;
    this.buffer.copy(next, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.buffer = next;
  }
}

/** Twice the message, so that the next one need not be moved; only its own size for a very large message. */
function capacityFor(messageBytes: number): number {
  return messageBytes * 2 <= KEPT_BYTES ? messageBytes * 2 : Math.max(messageBytes, KEPT_BYTES);
}
