import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../base/units.js';
import { createNewFile } from '../posix/replacement.js';
import { ImageChecksum } from './checksum.js';
import { FileEnd } from './file-end.js';

/** A file being written. */
export interface AppendTarget {
  /** For threads that write to it themselves. */
  readonly fd: number;
  /** Writes all of the bytes. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

const BATCH_BYTES = MIB;

/** Clusters on their way into a file. */
interface Appended {
  readonly position: number;
  /** Settles once they are written; until then the buffer must not change. */
  readonly written: Promise<void>;
}

interface Waiting {
  readonly data: Buffer;
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * The file of an image, to which clusters are appended behind the first, which is left free for the end. There is one
 * write at a time, for Linux lets one writer in a file, and others spin; what is appended meanwhile goes out together, in
 * batches of about 1 MiB.
 */
export class AppendFile {
  /** Where the next cluster goes. */
  readonly end = FileEnd.afterHeader();
  /** Of all that is in the file; whoever writes to it without `append` adds what it wrote. */
  readonly checksum = new ImageChecksum();
  /** The first write that failed; nothing is written after it. */
  failure: Error | undefined;
  private readonly waiting: Waiting[] = [];
  /** Settles when nothing waits any more; undefined when nothing does. */
  private writing: Promise<void> | undefined;

  constructor(private readonly target: AppendTarget) {}

  get fd(): number {
    return this.target.fd;
  }

  /** Appends whole clusters. */
  append(data: Buffer): Appended {
    const position = this.end.take(data.length);
    this.checksum.add(data, position);
    return { position, written: this.write(data, position) };
  }

  /** Writes whole clusters where there is place for them. Resolves once that is done; until then the buffer must not change. */
  write(data: Buffer, position: number): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting.push({ data, position, resolve, reject });
      this.writing ??= this.writeWaiting();
    });
  }

  /** Fills the first cluster, and makes everything durable. Resolves to the checksum of the file. */
  async finish(head: Buffer): Promise<string> {
    await this.writing;
    if (this.failure) throw this.failure;
    this.checksum.add(head, 0);
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

  /** Neighbours in the file, as many as make a batch. */
  private takeBatch(): Waiting[] {
    const [first] = this.waiting;
    let bytes = 0;
    let count = 0;
    while (count < this.waiting.length && bytes < BATCH_BYTES) {
      const { data, position } = this.waiting[count]!;
      if (position !== first!.position + bytes) break;
      bytes += data.length;
      count++;
    }
    return this.waiting.splice(0, count);
  }
}

/** A new file, for its owner alone, as disks are. @throws EEXIST when there is one already */
export async function createTarget(path: string): Promise<AppendTarget> {
  const file = await createNewFile(path);
  return {
    fd: file.fd,
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
