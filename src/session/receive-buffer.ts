import { KIB, MIB } from '../base/units.js';
import type { MemoryAccount } from './memory-budget.js';

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
  /** The known length of the next message, which begins at `start`. */
  private neededBytes = 0;
  /** Memory that was already claimed for the next buffer. */
  private paidBytes = 0;
  private givenAway = false;

  constructor(private readonly memory: Pick<MemoryAccount, 'add'>) {
    memory.add(INITIAL_BYTES);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Everything before `start` has been handled. The message at `start` needs `neededBytes` in one piece. */
  consumed(start: number, neededBytes: number): void {
    this.start = start;
    this.neededBytes = neededBytes;
  }

  /** Memory to claim before there is room for the whole message that is arriving. Until then there is little room. */
  get unpaidBytes(): number {
    if (this.neededBytes <= KEPT_BYTES) return 0;
    const presentBytes = this.givenAway ? 0 : this.buffer.length;
    return Math.max(0, this.neededBytes - presentBytes - this.paidBytes);
  }

  pay(claimedBytes: number): void {
    this.paidBytes += claimedBytes;
  }

  /** Leaves the buffer to the consumer of its message, which also releases its memory. */
  giveAway(): void {
    this.givenAway = true;
  }

  /** Room for the next bytes: at least one, and enough for the message that is arriving if it is paid for. */
  room(): Buffer {
    const neededBytes = this.unpaidBytes > 0 ? 0 : this.neededBytes;
    const wanted = Math.max(neededBytes, this.length + 1);
    if (this.givenAway) this.replace(capacityFor(wanted));
    else if (this.start === this.end) this.reset();
    if (this.start + wanted > this.buffer.length) this.makeRoom(wanted);
    if (this.end === 0) return this.buffer;
    // A long message ends its room, so that the next message starts at the front of the buffer and need not be moved.
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
      this.replace(capacityFor(wanted));
    }
  }

  private replace(capacityBytes: number): void {
    const next = Buffer.allocUnsafeSlow(capacityBytes);
    this.memory.add(capacityBytes - this.buffer.length - this.paidBytes);
    this.paidBytes = 0;
    this.givenAway = false;
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
