import { readSync, writeSync } from 'node:fs';
import { encodeRequest } from '../protocol/client-codec.js';
import { Command } from '../protocol/constants.js';
import { cannot, closedBy, givenUp, silent } from './connection-failures.js';
import type { ConnectionFacts } from './detached-connection.js';
import { type Dialogue, MAX_WANTED_BYTES, type Wanted } from './dialogue.js';
import type { ReadRequest } from './read-request.js';
import { takeReplies } from './reply-dialogue.js';
import { RequestTable } from './request-table.js';

/**
 * Reads over a detached connection with blocking calls, in a thread of its own: a reply costs one call for its header
 * and one or few for its data, and no turn of an event loop. The first failure ends the connection.
 */
export class BlockingReader {
  private readonly requests = new RequestTable(() => {});
  private readonly replies: Dialogue<never>;
  private wanted: Wanted;
  private readonly buffer = Buffer.allocUnsafeSlow(MAX_WANTED_BYTES);
  private failure: Error | undefined;

  constructor(
    private readonly connection: ConnectionFacts,
    /** Asked before each call that may wait. Once true, the connection is given up. */
    private readonly isStopped: () => boolean,
  ) {
    this.replies = takeReplies(this.requests, connection.replies);
    this.wanted = this.replies.next().value;
  }

  /** The number of reads whose reply is not complete. */
  get inFlight(): number {
    return this.requests.size;
  }

  /** Sends reads. They settle during `receive`. @throws NbdConnectionError */
  send(reads: readonly ReadRequest[]): void {
    const messages = Buffer.concat(reads.map((read) => this.encode(read)));
    this.guard(() => {
      for (let done = 0; done < messages.length; ) {
        done += this.wait(() => writeSync(this.connection.fd, messages, done));
      }
    });
  }

  /** Receives replies until no more than `count` are missing. @throws NbdConnectionError, NbdProtocolError */
  receive(count: number): void {
    this.guard(() => {
      while (this.inFlight > count) {
        const bytes = typeof this.wanted === 'number' ? this.buffer.subarray(0, this.wanted) : this.wanted;
        this.fill(bytes);
        this.wanted = this.replies.next(bytes).value;
      }
    });
  }

  private encode(read: ReadRequest): Buffer {
    const { offset, length } = read;
    const request = { command: Command.READ, flags: 0, cookie: this.requests.add(read), offset, length };
    return encodeRequest(request, this.connection.replies);
  }

  private fill(bytes: Buffer): void {
    const { fd, place } = this.connection;
    for (let done = 0; done < bytes.length; ) {
      const count = this.wait(() => readSync(fd, bytes, done, bytes.length - done, null));
      if (count === 0) throw closedBy(place);
      done += count;
    }
  }

  /** Repeats a call until the socket is ready. */
  private wait(call: () => number): number {
    const { place, timeoutSeconds } = this.connection;
    const deadline = performance.now() + timeoutSeconds * 1000;
    for (;;) {
      if (this.isStopped()) throw givenUp();
      try {
        return call();
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code !== 'EAGAIN' && code !== 'EINTR') throw cannot('talk', place, error as NodeJS.ErrnoException);
        if (performance.now() > deadline) throw silent(place, timeoutSeconds);
      }
    }
  }

  private guard(work: () => void): void {
    if (this.failure) throw this.failure;
    try {
      work();
    } catch (error) {
      this.failure = error as Error;
      this.requests.abandonAll(this.failure);
      throw error;
    }
  }
}
