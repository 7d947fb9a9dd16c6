import { MIB } from '../base/units.js';
import { AppendFile, type AppendTarget } from '../qcow2/append-file.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { Qcow2Writer, type WrittenBody } from '../qcow2/writer.js';
import { BufferPool } from './buffer-pool.js';
import { LiveCopy } from './live-copy.js';
import { MAX_RANGE_BYTES, type RangeCopy } from './range-copy.js';
import type { RateLimit } from './rate-limit.js';
import { ReceivedCopy } from './received-copy.js';
import type { ViewReader } from './view-reader.js';

/** How many pieces are read or written at the same time. */
const PIECES_IN_FLIGHT = 32;
/** A shorter run is faster to read on the event loop than to hand to a thread. */
const MIN_RANGE_BYTES = MIB;
/** Limits the queue of steps, because there may be many runs of zeroes among the reads. */
const MAX_STEPS = 1024;

export interface CopyOptions {
  readonly target: AppendTarget;
  /** Relative name of the image below; undefined for a full image. */
  readonly backingName: string | undefined;
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  /** Makes the image's note about itself. */
  readonly noteOf: (copied: CopiedBody) => Buffer | undefined;
  /** Called with the bytes read so far and the bytes to read. */
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/** Facts about an image whose first cluster is not written yet, and about its source. */
export interface CopiedBody extends WrittenBody {
  /** Bytes of dirty clusters, including those that did not have to be read. */
  readonly dirtyBytes: number;
  readonly readBytes: number;
}

interface CopiedView extends CopiedBody {
  readonly checksum: string;
}

/** Copies what changed, or everything that is not zero, to an image. Always closes the target. */
export async function copyView(reader: ViewReader, options: CopyOptions): Promise<CopiedView> {
  const copy = new ViewCopy(reader, options);
  try {
    options.signal.throwIfAborted();
    return await copy.run();
  } finally {
    await copy.close();
  }
}

/** A part of the disk that waits for its turn, because an image's tables are written in the order of the disk. */
interface Step {
  /** Whether the step can finish without waiting. */
  isReady: boolean;
  /** Adds the part to the image. */
  finish(): Promise<void> | void;
}

class ViewCopy {
  private readonly file: AppendFile;
  private readonly writer: Qcow2Writer;
  private readonly slots: BufferPool;
  private readonly steps: Step[] = [];
  /** Undefined until the first long run. */
  private ranges: Promise<RangeCopy | undefined> | undefined;
  private rangesInFlight = 0;
  /** Aborted as soon as any read fails, even if its turn has not come. */
  private readonly broken = new AbortController();
  private readonly stopped: AbortSignal;
  private totalBytes = 0;
  private readBytes = 0;
  private dirtyBytes = 0;

  constructor(
    private readonly reader: ViewReader,
    private readonly options: CopyOptions,
  ) {
    this.file = new AppendFile(options.target);
    this.writer = new Qcow2Writer(this.file, reader.sizeBytes, options.backingName);
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
    const { dirtyBytes, readBytes } = this;
    const written = await this.writer.finish((body) => this.options.noteOf({ ...body, dirtyBytes, readBytes }));
    return { ...written, dirtyBytes, readBytes };
  }

  async close(): Promise<void> {
    // End the threads first: they know only the file's descriptor, which may be reused after it is closed.
    await (await this.ranges?.catch(() => undefined))?.[Symbol.asyncDispose]();
    await this.file.close();
  }

  /** The block status is queried again later, because keeping it would take unlimited memory. */
  private async survey(): Promise<void> {
    for await (const { length, kind } of this.reader.survey()) {
      if (kind === 'data') this.totalBytes += length;
      if (kind !== 'skip') this.dirtyBytes += length;
    }
    this.options.onProgress(0, this.totalBytes);
  }

  private async zero(offset: number, length: number): Promise<void> {
    // The survey of an increment counts everything dirty as data.
    if (this.options.backingName !== undefined) this.totalBytes -= length;
    this.steps.push({ isReady: true, finish: () => this.writer.zero(offset, length) });
    if (this.steps.length > MAX_STEPS) await this.finishFirst();
    await this.finishReady();
  }

  private async copy(offset: number, length: number): Promise<void> {
    const ranges = length >= MIN_RANGE_BYTES ? await this.beginRanges() : undefined;
    const rangeBytes = ranges ? length - (length % CLUSTER_BYTES) : 0;
    if (ranges) await this.copyRanges(ranges, offset, rangeBytes);
    await this.copyPieces(offset + rangeBytes, length - rangeBytes);
  }

  /** Undefined if no thread can read the view. */
  private beginRanges(): Promise<RangeCopy | undefined> {
    const { reader, file, stopped } = this;
    this.ranges ??= reader.disk
      ? Promise.resolve(new LiveCopy(reader.disk, reader, file))
      : ReceivedCopy.begin(reader, file, stopped);
    return this.ranges;
  }

  private async copyPieces(offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; ) {
      const slot = await this.takeSlot();
      const bytes = Math.min(this.reader.pieceBytes, offset + length - at);
      await this.pass(bytes);
      this.read(at, bytes, slot);
      at += bytes;
      await this.finishReady();
    }
  }

  private async copyRanges(ranges: RangeCopy, offset: number, length: number): Promise<void> {
    const maxBytes = this.options.limit.isUnlimited ? MAX_RANGE_BYTES : this.reader.pieceBytes;
    for (let at = offset; at < offset + length; ) {
      while (this.rangesInFlight >= ranges.maxInFlight) await this.finishFirst();
      const bytes = Math.min(maxBytes, offset + length - at);
      await this.pass(bytes);
      this.copyRange(ranges, at, bytes);
      at += bytes;
      await this.finishReady();
    }
  }

  private async pass(bytes: number): Promise<void> {
    await this.options.limit.pass(bytes, this.stopped).catch(() => this.stopped.throwIfAborted());
  }

  private read(offset: number, length: number, slot: Buffer): void {
    this.begin(this.reader.read(offset, length, slot), (data) => {
      this.noteRead(data.length);
      const release = () => this.slots.give(slot);
      // The file remembers a failure, which ends the copy at the next step.
      this.writer.write(offset, data).then(release, release);
    });
  }

  private copyRange(ranges: RangeCopy, offset: number, length: number): void {
    this.rangesInFlight++;
    this.begin(ranges.copy(offset, length), (placed) => {
      this.rangesInFlight--;
      this.noteRead(length);
      this.writer.place(offset, placed);
    });
  }

  /** Queues a step that finishes when `work` and all earlier steps are done. */
  private begin<Result>(work: Promise<Result>, enter: (result: Result) => void): void {
    const step: Step = { isReady: false, finish: async () => enter(await work) };
    work.then(
      () => {
        step.isReady = true;
      },
      (error: Error) => this.broken.abort(error),
    );
    this.steps.push(step);
  }

  private noteRead(bytes: number): void {
    this.readBytes += bytes;
    this.options.onProgress(this.readBytes, this.totalBytes);
  }

  /** Finishes the first steps in the queue that need no waiting. */
  private async finishReady(): Promise<void> {
    while (this.steps[0]?.isReady) await this.finishFirst();
  }

  /** Gets a buffer for another read. While none is free, finishes earlier steps. */
  private async takeSlot(): Promise<Buffer> {
    for (;;) {
      const slot = this.slots.takeNow();
      if (slot) return slot;
      if (this.steps.length === 0) return await this.slots.take();
      await this.finishFirst();
    }
  }

  /** Waits for the first step in the queue and finishes it. */
  private async finishFirst(): Promise<void> {
    if (this.file.failure) throw this.file.failure;
    await this.steps.shift()!.finish();
  }
}
