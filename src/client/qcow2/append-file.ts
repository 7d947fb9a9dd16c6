import { type FileHandle, open } from 'node:fs/promises';
import { assert } from '../../base/assert.js';
import { MIB } from '../../base/units.js';
import { ImageChecksum } from './checksum.js';

/** A file being written from its beginning to its end. */
export interface AppendTarget {
  /** Writes all of the bytes. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

const BATCH_BYTES = MIB;
const OWNER_ONLY = 0o600;

interface Waiting {
  readonly data: Buffer;
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * Appends to a file behind a part that is left free for the end. There is one write at a time, for Linux lets one writer
 * in a file, and others spin; what is appended meanwhile goes out together, in batches of about 1 MiB.
 */
export class AppendFile {
  /** Where the next byte goes. */
  position: number;
  /** The first write that failed; nothing is written after it. */
  failure: Error | undefined;
  private readonly checksum = new ImageChecksum();
  private readonly waiting: Waiting[] = [];
  /** Settles when nothing waits any more; undefined when nothing does. */
  private writing: Promise<void> | undefined;

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
    this.checksum.update(data);
    return new Promise((resolve, reject) => {
      this.waiting.push({ data, position, resolve, reject });
      this.writing ??= this.writeWaiting();
    });
  }

  /** Fills the part that was left free, and makes everything durable. Resolves to the checksum of the file. */
  async finish(head: Buffer): Promise<string> {
    await this.writing;
    if (this.failure) throw this.failure;
    assert(head.length === this.reservedBytes, 'the head fills the part that was left free');
    this.checksum.update(head);
    await this.target.write([head], 0);
    await this.target.sync();
    return this.checksum.finish();
  }

  async close(): Promise<void> {
    await this.writing;
    await this.target.close();
  }

  private async writeWaiting(): Promise<void> {
    while (this.waiting.length > 0) {
      const batch = this.takeBatch();
      try {
        await this.target.write(
          batch.map(({ data }) => data),
          batch[0]!.position,
        );
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.failure = error as Error;
        for (const { reject } of [...batch, ...this.waiting.splice(0)]) reject(this.failure);
      }
    }
    this.writing = undefined;
  }

  private takeBatch(): Waiting[] {
    let bytes = 0;
    let count = 0;
    while (count < this.waiting.length && (count === 0 || bytes < BATCH_BYTES))
      bytes += this.waiting[count++]!.data.length;
    return this.waiting.splice(0, count);
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
