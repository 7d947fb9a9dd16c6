import { KIB, MIB } from '../base/units.js';
import type { MemoryAccount } from './memory-budget.js';

const INITIAL_BYTES = 64 * KIB;
/** A message that takes several reads to come in. */
const LONG_BYTES = 128 * KIB;
/** A buffer up to this size is kept for the next message; a larger one is for its message alone. */
const KEPT_BYTES = 1 * MIB;

/**
 * What a connection has received and not yet consumed, always in one piece: `buffer` from `start` to `end`. New bytes
 * are appended in place, so that a payload can go to storage straight from here. The buffer is replaced in `room` alone, because
 * until that is asked again the system may write into the room it was given last.
 */
export class ReceiveBuffer {
  buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  start = 0;
  end = 0;
  /** Bytes, from `start` on, that the next message is known to have. */
  private neededBytes = 0;
  /** Memory that was claimed for the next buffer. */
  private paidBytes = 0;
  private givenAway = false;

  constructor(private readonly memory: Pick<MemoryAccount, 'add'>) {
    memory.add(INITIAL_BYTES);
  }

  get length(): number {
    return this.end - this.start;
  }

  /** Everything before `start` has been dealt with; the message there needs `neededBytes` in one piece. */
  consumed(start: number, neededBytes: number): void {
    this.start = start;
    this.neededBytes = neededBytes;
  }

  /** Memory to be claimed before the message that is coming in gets its place; until then there is little room. */
  get unpaidBytes(): number {
    if (this.neededBytes <= KEPT_BYTES) return 0;
    const presentBytes = this.givenAway ? 0 : this.buffer.length;
    return Math.max(0, this.neededBytes - presentBytes - this.paidBytes);
  }

  pay(claimedBytes: number): void {
    this.paidBytes += claimedBytes;
  }

  /** Whoever has consumed a message keeps the buffer, and gives its memory back. */
  giveAway(): void {
    this.givenAway = true;
  }

  /** Room for the next bytes, at least one, and enough for the message that is coming in. */
  room(): Buffer {
    const neededBytes = this.unpaidBytes > 0 ? 0 : this.neededBytes;
    const wanted = Math.max(neededBytes, this.length + 1);
    if (this.givenAway) this.replace(capacityFor(wanted));
    else if (this.start === this.end) this.reset();
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

/** Twice the message, so that what follows it need not be moved; a very large one gets just its size. */
function capacityFor(messageBytes: number): number {
  return messageBytes * 2 <= KEPT_BYTES ? messageBytes * 2 : Math.max(messageBytes, KEPT_BYTES);
}
