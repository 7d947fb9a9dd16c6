import { assert } from '../base/assert.js';
import { KIB } from '../base/units.js';

/** The number of bytes wanted, at most MAX_WANTED_BYTES, or a buffer to fill. */
export type Wanted = number | Buffer;

/**
 * A conversation with a peer, written in the order in which it takes place. It yields what it wants next and is resumed
 * with those bytes: for a number, a view that is valid until the next yield; for a buffer, the buffer itself, which the
 * socket fills without a copy if it is large. It sends on its own, throws when the peer misbehaves, and returns its
 * outcome.
 */
export type Dialogue<Result> = Generator<Wanted, Result, Buffer>;

const RECEIVE_BYTES = 64 * KIB;
export const MAX_WANTED_BYTES = 32 * KIB;
/** For fewer bytes, a copy is cheaper than a system call of their own. */
const MIN_DIRECT_BYTES = 32 * KIB;
const NOTHING = Buffer.alloc(0);

/** Feeds the bytes of a stream to one dialogue at a time. It buffers at most 64 KiB. */
export class DialogueRunner {
  private readonly buffer = Buffer.allocUnsafeSlow(RECEIVE_BYTES);
  private start = 0;
  private end = 0;
  private dialogue: Dialogue<unknown> | undefined;
  private wanted: Wanted = 0;
  /** Bytes of the wanted buffer that have arrived. */
  private filled = 0;
  /** Whether the last `room` was part of the wanted buffer. */
  private direct = false;
  private resolve: (result: unknown) => void = () => {};
  private reject: (error: unknown) => void = () => {};

  /** Resolves to what the dialogue returns. Rejects with what it throws, or with the error given to `abandon`. */
  run<Result>(dialogue: Dialogue<Result>): Promise<Result> {
    assert(this.dialogue === undefined, 'one dialogue at a time');
    return new Promise<Result>((resolve, reject) => {
      this.dialogue = dialogue;
      this.resolve = resolve as (result: unknown) => void;
      this.reject = reject;
      this.resume(NOTHING);
      this.advance();
    });
  }

  get running(): boolean {
    return this.dialogue !== undefined;
  }

  /** Whether the dialogue has taken everything that has arrived. */
  get isIdle(): boolean {
    return this.start === this.end && this.filled === 0;
  }

  /** Ends the dialogue, wherever it is, with an error. */
  abandon(error: Error): void {
    this.dialogue = undefined;
    this.wanted = 0;
    this.reject(error);
  }

  /** Where the next bytes go. */
  room(): Buffer {
    const { wanted } = this;
    this.direct = typeof wanted !== 'number' && wanted.length - this.filled >= MIN_DIRECT_BYTES;
    if (this.direct) return (wanted as Buffer).subarray(this.filled);
    // Fewer bytes are left than were wanted, so there is always room after them.
    this.buffer.copyWithin(0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    return this.buffer.subarray(this.end);
  }

  /** The first `count` bytes of the room have been filled. */
  received(count: number): void {
    if (this.direct) this.filled += count;
    else this.end += count;
    this.advance();
  }

  private advance(): void {
    while (this.dialogue) {
      const bytes = this.take();
      if (!bytes) return;
      this.resume(bytes);
    }
  }

  /** The wanted bytes; undefined while some are missing. */
  private take(): Buffer | undefined {
    const { buffer, start, wanted } = this;
    const available = this.end - start;
    if (typeof wanted === 'number') {
      if (available < wanted) return undefined;
      this.start += wanted;
      return buffer.subarray(start, start + wanted);
    }
    const count = Math.min(wanted.length - this.filled, available);
    buffer.copy(wanted, this.filled, start, start + count);
    this.start += count;
    this.filled += count;
    return this.filled === wanted.length ? wanted : undefined;
  }

  private resume(bytes: Buffer): void {
    this.filled = 0;
    try {
      const step = this.dialogue!.next(bytes);
      this.wanted = step.done ? 0 : step.value;
      if (step.done) {
        this.dialogue = undefined;
        this.resolve(step.value);
      }
    } catch (error) {
      this.abandon(error as Error);
    }
    assert(typeof this.wanted !== 'number' || this.wanted <= MAX_WANTED_BYTES, 'the buffer can hold what is wanted');
  }
}
