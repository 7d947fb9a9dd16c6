import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A client's end of a connection: bytes out in pieces, and everything that came in, in one buffer. */
export class FuzzSocket {
  /** What was received and not consumed: from `start` to `end`. */
  buffer = Buffer.allocUnsafe(64 * 1024);
  start = 0;
  end = 0;
  /** Nothing more comes. */
  over = false;
  /** Why nothing more comes. */
  how: string | undefined;
  private wake: () => void = () => {};

  private constructor(private readonly socket: Socket) {
    socket.on('data', (data: Buffer) => this.append(data));
    const end = (how: string) => {
      this.how ??= how;
      this.over = true;
      this.wake();
    };
    socket.on('end', () => end('ended')).on('close', () => end('closed'));
    socket.on('error', (error) => end(`failed: ${error.message}`));
  }

  static async connect(path: string): Promise<FuzzSocket> {
    const socket = connect({ path, allowHalfOpen: true });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new FuzzSocket(socket);
  }

  get available(): number {
    return this.end - this.start;
  }

  /** Sends the bytes cut at those points, with a turn of the event loop between the pieces. */
  async send(bytes: Buffer, cuts: readonly number[] = []): Promise<void> {
    let at = 0;
    for (const cut of cuts) {
      this.socket.write(bytes.subarray(at, cut));
      at = cut;
      await nextTurn();
    }
    this.socket.write(bytes.subarray(at));
  }

  /** Resolves when something came, or nothing more will. */
  more(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      if (this.over) resolve();
    });
  }

  /** Waits for so many bytes. False when the connection ends before. */
  async has(length: number): Promise<boolean> {
    while (this.available < length && !this.over) await this.more();
    return this.available >= length;
  }

  async untilOver(): Promise<void> {
    while (!this.over) await this.more();
  }

  take(length: number): Buffer {
    this.start += length;
    return this.buffer.subarray(this.start - length, this.start);
  }

  /** Stops reading, so that what the server sends piles up. */
  stall(): void {
    this.socket.pause();
  }

  /** Sends no more, and goes on reading. */
  finish(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.destroy();
  }

  private append(data: Buffer): void {
    if (this.start === this.end) {
      this.start = 0;
      this.end = 0;
    }
    if (this.end + data.length > this.buffer.length) this.grow(data.length);
    data.copy(this.buffer, this.end);
    this.end += data.length;
    this.wake();
  }

  private grow(byBytes: number): void {
    const wanted = this.available + byBytes;
    const next = wanted > this.buffer.length / 2 ? Buffer.allocUnsafe(2 * wanted) : this.buffer;
    this.buffer.copy(next, 0, this.start, this.end);
    this.end -= this.start;
    this.start = 0;
    this.buffer = next;
  }
}
