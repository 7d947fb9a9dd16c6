/** A fixed number of buffers of one size. The last one returned is reused first, because it is in the CPU's cache. */
export class BufferPool {
  private readonly free: Buffer[];
  private readonly waiting: ((buffer: Buffer) => void)[] = [];

  constructor(count: number, bytes: number) {
    this.free = Array.from({ length: count }, () => Buffer.allocUnsafeSlow(bytes));
  }

  /** Undefined if all buffers are in use. */
  takeNow(): Buffer | undefined {
    return this.free.pop();
  }

  /** Waits until a buffer is free. */
  take(): Promise<Buffer> {
    const buffer = this.free.pop();
    if (buffer) return Promise.resolve(buffer);
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  give(buffer: Buffer): void {
    const next = this.waiting.shift();
    if (next) next(buffer);
    else this.free.push(buffer);
  }
}
