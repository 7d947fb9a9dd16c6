import { AppendFile, type AppendTarget } from '../qcow2/append-file.js';
import { CLUSTER_BYTES } from '../qcow2/format.js';
import { Qcow2Writer, type WrittenImage } from '../qcow2/writer.js';
import { BufferPool } from './buffer-pool.js';
import type { RateLimit } from './rate-limit.js';
import type { ViewReader } from './view-reader.js';

/** Pieces that are being read or written at a time. */
const PIECES_IN_FLIGHT = 32;
/** Steps that wait for their turn: there may be many runs of zeroes among the reads. */
const MAX_STEPS = 1024;

export interface CopyOptions {
  readonly target: AppendTarget;
  /** Relative name of the image below; undefined: the copy has everything. */
  readonly backingName: string | undefined;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  /** Told what is done of what there is to read, in bytes. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

export interface CopiedView extends WrittenImage {
  /** Bytes of clusters that are dirty, whether they had to be read or not. */
  readonly dirtyBytes: number;
  readonly readBytes: number;
}

/** Copies what changed, or everything that is not zero, into an image. Closes the target, whatever happens. */
export async function copyView(reader: ViewReader, options: CopyOptions): Promise<CopiedView> {
  const file = new AppendFile(options.target, CLUSTER_BYTES);
  const stop = () => reader.abort();
  options.signal.addEventListener('abort', stop);
  try {
    options.signal.throwIfAborted();
    return await new ViewCopy(reader, file, options).run();
  } finally {
    options.signal.removeEventListener('abort', stop);
    await file.close();
  }
}

/** What is done when its turn comes: the image is written in the order of the disk. */
type Step = ZeroStep | ReadStep;

interface ZeroStep {
  readonly isReady: true;
  readonly offset: number;
  readonly length: number;
  readonly read?: undefined;
}

interface ReadStep {
  /** Whether the data is there. */
  isReady: boolean;
  readonly offset: number;
  readonly read: Promise<Buffer>;
  readonly slot: Buffer;
}

class ViewCopy {
  private readonly writer: Qcow2Writer;
  private readonly slots: BufferPool;
  private readonly steps: Step[] = [];
  /** Aborted by a read that failed, whosever turn it is. */
  private readonly broken = new AbortController();
  private readonly stopped: AbortSignal;
  private totalBytes = 0;
  private readBytes = 0;
  private dirtyBytes = 0;

  constructor(
    private readonly reader: ViewReader,
    private readonly file: AppendFile,
    private readonly options: CopyOptions,
  ) {
    this.writer = new Qcow2Writer(file, reader.sizeBytes, options.backingName);
    this.slots = new BufferPool(PIECES_IN_FLIGHT, reader.pieceBytes);
    this.stopped = AbortSignal.any([options.signal, this.broken.signal]);
  }

  async run(): Promise<CopiedView> {
    await this.survey();
    for await (const { offset, length, kind } of this.reader.plan()) {
      if (kind === 'zero') await this.zero(offset, length);
      if (kind === 'data') await this.copy(offset, length);
    }
    while (this.steps.length > 0) await this.finishFirst();
    const written = await this.writer.finish();
    return { ...written, dirtyBytes: this.dirtyBytes, readBytes: this.readBytes };
  }

  /** The block status is asked for once more later rather than kept, which would take memory without limit. */
  private async survey(): Promise<void> {
    for await (const { length, kind } of this.reader.survey()) {
      if (kind === 'data') this.totalBytes += length;
      if (kind !== 'skip') this.dirtyBytes += length;
    }
    this.options.onProgress(0, this.totalBytes);
  }

  private async zero(offset: number, length: number): Promise<void> {
    // The survey of an increment takes for data what is dirty.
    if (this.options.backingName !== undefined) this.totalBytes -= length;
    this.steps.push({ isReady: true, offset, length });
    if (this.steps.length > MAX_STEPS) await this.finishFirst();
    await this.finishReady();
  }

  private async copy(offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; ) {
      const slot = await this.takeSlot();
      const bytes = Math.min(this.reader.pieceBytes, offset + length - at);
      await this.options.limit.pass(bytes, this.stopped).catch(() => this.stopped.throwIfAborted());
      this.steps.push(this.read(at, bytes, slot));
      at += bytes;
      await this.finishReady();
    }
  }

  private read(offset: number, length: number, slot: Buffer): Step {
    const read = this.reader.read(offset, length, slot);
    const step = { isReady: false, offset, read, slot };
    read.then(
      () => {
        step.isReady = true;
      },
      (error: Error) => this.broken.abort(error),
    );
    return step;
  }

  /** Takes the steps whose turn it is, as far as nothing has to be waited for. */
  private async finishReady(): Promise<void> {
    while (this.steps[0]?.isReady) await this.finishFirst();
  }

  /** A buffer for another read. While there is none, what has been read is written. */
  private async takeSlot(): Promise<Buffer> {
    for (;;) {
      const slot = this.slots.takeNow();
      if (slot) return slot;
      if (this.steps.length === 0) return await this.slots.take();
      await this.finishFirst();
    }
  }

  /** Begins to write what comes next in the order of the disk, as soon as it has been read. */
  private async finishFirst(): Promise<void> {
    if (this.file.failure) throw this.file.failure;
    const step = this.steps.shift()!;
    if (!step.read) {
      this.writer.zero(step.offset, step.length);
      return;
    }
    const data = await step.read;
    this.readBytes += data.length;
    this.options.onProgress(this.readBytes, this.totalBytes);
    const release = () => this.slots.give(step.slot);
    // A failure stays with the file, and ends the copy at the next step.
    this.writer.write(step.offset, data).then(release, release);
  }
}
