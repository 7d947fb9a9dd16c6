import { connect, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A client's end of a connection. It sends bytes in pieces, and keeps everything that it received in one buffer. */
export class FuzzSocket {
  /** Received bytes; those from `start` to `end` are not consumed yet. */
  buffer = Buffer.allocUnsafe(64 * 1024);
  start = 0;
  end = 0;
  /** True if nothing more will arrive. */
  over = false;
  /** Why nothing more will arrive. */
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

  /** `to` is the path of a unix socket, or a port of this machine. */
  static async connect(to: string | number): Promise<FuzzSocket> {
    const place = typeof to === 'string' ? { path: to } : { host: '127.0.0.1', port: to };
    const socket = connect({ ...place, allowHalfOpen: true });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new FuzzSocket(socket);
  }

  /** Takes over a socket that is connected, or about to be. */
  static over(socket: Socket): FuzzSocket {
    return new FuzzSocket(socket);
  }

  get available(): number {
    return this.end - this.start;
  }

  /** Sends the bytes, split at these positions, with a turn of the event loop between the pieces. */
  async send(bytes: Buffer, cuts: readonly number[] = []): Promise<void> {
    let at = 0;
    for (const cut of cuts) {
      this.socket.write(bytes.subarray(at, cut));
      at = cut;
      await nextTurn();
    }
    this.socket.write(bytes.subarray(at));
  }

  /** Resolves when something has arrived, or nothing more will. */
  more(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      if (this.over) resolve();
    });
  }

  /** Waits for this many bytes. False if the connection ends before that. */
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

  /** Stops reading, so that the server's output piles up. */
  stall(): void {
    this.socket.pause();
  }

  /** Sends no more, but continues to read. */
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
