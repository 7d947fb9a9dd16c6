import { MIB } from '../base/units.js';
import { createNewFile } from '../posix/replacement.js';
import { writeFully } from '../posix/write-fully.js';
import { ImageChecksum } from './checksum.js';
import { FileEnd } from './file-end.js';

/** The file that an image is written to. */
export interface AppendTarget {
  /** For threads that write to the file directly. */
  readonly fd: number;
  /** Writes all of the bytes. */
  write(buffers: readonly Buffer[], position: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

const BATCH_BYTES = MIB;

/** Clusters that are being written to a file. */
interface Appended {
  readonly position: number;
  /** Settles when they are written. The buffer must not change before. */
  readonly written: Promise<void>;
}

interface Waiting {
  readonly data: Buffer;
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/**
 * The file of an image. Clusters are appended after the first, which is written last. There is one write at a time,
 * because Linux allows one writer in a file while the others spin. Clusters that are appended during a write go out
 * together afterwards, in batches of about 1 MiB.
 */
export class AppendFile {
  /** Where the next cluster goes. */
  readonly end = FileEnd.afterHeader();
  /** The checksum of everything in the file. Code that writes without `append` has to add what it wrote. */
  readonly checksum = new ImageChecksum();
  /** The error of the first write that failed. Nothing is written after it. */
  failure: Error | undefined;
  private readonly waiting: Waiting[] = [];
  /** Settles when nothing is waiting; undefined when nothing is. */
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

  /** Writes whole clusters at a position taken from `end`. The buffer must not change until this resolves. */
  write(data: Buffer, position: number): Promise<void> {
    if (this.failure) return Promise.reject(this.failure);
    return new Promise((resolve, reject) => {
      this.waiting.push({ data, position, resolve, reject });
      this.writing ??= this.writeWaiting();
    });
  }

  /** Writes the first cluster and makes everything durable. Resolves to the checksum of the file. */
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

  /** Takes waiting clusters that are adjacent in the file, up to the size of a batch. */
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

/** Creates a file that only its owner may read, like disks. @throws EEXIST when the file exists */
export async function createTarget(path: string): Promise<AppendTarget> {
  const file = await createNewFile(path);
  return {
    fd: file.fd,
    write: (buffers, position) => writeFully(file, buffers, position),
    sync: () => file.sync(),
    close: () => file.close(),
  };
}
