import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { assert } from '../../base/assert.js';
import { MIB } from '../../base/units.js';

/** A file being written from its beginning to its end. */
export interface AppendTarget {
  /** Writes all of the bytes. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Where every thread of a pool of four has one, and the file system can work on several pages at once. */
const WRITES_IN_FLIGHT = 4;
const BATCH_BYTES = MIB;
const OWNER_ONLY = 0o600;

interface Waiting {
  readonly data: Buffer;
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Appends to a file behind a part that is left free for the end. What is appended while the system is busy goes out
 * together, in batches of about 1 MiB.
 */
export class AppendFile {
  /** Where the next byte goes. */
  position: number;
  /** CRC-32 of everything appended so far. */
  crc = 0;
  /** The first write that failed; nothing is written after it. */
  failure: Error | undefined;
  private readonly waiting: Waiting[] = [];
  private inFlight = 0;
  private onIdle: () => void = () => {};

  constructor(
    private readonly target: AppendTarget,
    private readonly reservedBytes: number,
  ) {
    this.position = reservedBytes;
  }

  /** Resolves once the data is written; until then the buffer must not change. */
  append(data: Buffer): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    const { position } = this;
    this.position += data.length;
    this.crc = crc32(data, this.crc);
    return new Promise((resolve, reject) => {
      this.waiting.push({ data, position, resolve, reject });
      this.advance();
    });
  }

  /** Fills the part that was left free, and makes everything durable. Resolves to the CRC-32 of that part. */
  async finish(head: Buffer): Promise<number> {
    await this.idle();
    if (this.failure) throw this.failure;
    assert(head.length === this.reservedBytes, 'the head fills the part that was left free');
    await this.target.write([head], 0);
    await this.target.sync();
    return crc32(head);
  }

  /** Resolves when nothing is being written. */
  private idle(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.onIdle = resolve;
    });
  }

  async close(): Promise<void> {
    await this.idle();
    await this.target.close();
  }

  private advance(): void {
    while (this.inFlight < WRITES_IN_FLIGHT && this.waiting.length > 0) this.start(this.takeBatch());
  }

  private takeBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < this.waiting.length && (count === 0 || bytes < BATCH_BYTES))
      bytes += this.waiting[count++]!.data.length;
    return this.waiting.splice(0, count);
  }

  private start(batch: readonly Waiting[]): void {
    this.inFlight++;
    const written = this.target.write(
      batch.map(({ data }) => data),
      batch[0]!.position,
    );
    written.then(
      () => this.ended(batch, undefined),
      (error: Error) => this.ended(batch, error),
    );
  }

  private ended(batch: readonly Waiting[], error: Error | undefined): void {
    this.inFlight--;
    for (const { resolve, reject } of batch) {
      if (error) reject(error);
      else resolve();
    }
    if (error && !this.failure) {
      this.failure = error;
      for (const { reject } of this.waiting.splice(0)) reject(error);
    }
    this.advance();
    if (this.inFlight === 0) this.onIdle();
  }
}

/** A new file, for its owner alone, as disks are. @throws EEXIST when there is one already */
export async function createTarget(path: string): Promise<AppendTarget> {
  const file = await open(path, 'wx', OWNER_ONLY);
  return {
    write: (buffers, position) => writeFully(file, buffers, position),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}

async function writeFully(file: FileHandle, buffers: readonly Buffer[], position: number): Promise<void> {
  const total = buffers.reduce((sum, { length }) => sum + length, 0);
  const { bytesWritten } = await file.writev(buffers, position);
  if (bytesWritten === total) return;
  // A disk that is nearly full takes a part; the rest tells the error.
  const rest = Buffer.concat(buffers).subarray(bytesWritten);
  for (let done = 0; done < rest.length; ) {
    const more = await file.write(rest, done, rest.length - done, position + bytesWritten + done);
    done += more.bytesWritten;
  }
}
