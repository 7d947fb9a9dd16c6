import type { ChainRun, Qcow2Chain } from '../qcow2/chain.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import type { Qcow2Image } from '../qcow2/image.js';
import type { ChainChecksums } from './chain-checksums.js';
import type { DiskPart } from './image-orders.js';
import { type ImageThreads, ORDER_BYTES } from './image-threads.js';

/** Receives a disk by ascending offset. */
export interface DiskSink {
  /** Resolves when the buffer may be reused. */
  write(offset: number, data: Buffer): Promise<void>;
  /** Makes the range read as zeroes. */
  zero(offset: number, length: number): Promise<void> | void;
  /**
   * Lets threads copy parts of whole clusters. Resolves to what is left to do for each part when its turn on the disk
   * comes. Missing if threads cannot write to the sink.
   */
  copyInThreads?(threads: ImageThreads, parts: readonly DiskPart[]): Promise<(part: DiskPart) => void>;
}

/** A sink that threads can write to. */
export type ThreadSink = Required<DiskSink>;

/** What wants to know of a copy while it runs. */
export interface CopyObserver {
  /** Called with the number of bytes that were copied since the last call. */
  readonly onCopied: (bytes: number) => void;
  /** Gets what is copied without threads. */
  readonly checksums: ChainChecksums | undefined;
}

/** A run that reads as zeroes. */
interface ZeroRun {
  readonly offset: number;
  readonly length: number;
  readonly path?: undefined;
}

/** A disk that was changed here and there has very many short runs. So many go together in an order. */
const MAX_RUNS = 1024;

/** Copies the disk that a chain of images holds, in threads. */
export class ThreadedChainCopy {
  /** The next order, by ascending offset. */
  private runs: (DiskPart | ZeroRun)[] = [];
  private runBytes = 0;
  /** Orders, and what is left to do for each. */
  private readonly steps: Promise<() => Promise<void>>[] = [];

  constructor(
    private readonly threads: ImageThreads,
    private readonly sink: ThreadSink,
    private readonly observer: CopyObserver,
  ) {}

  /** @throws Qcow2Error, system errors, and what the signal of the threads says */
  async run(chain: Qcow2Chain): Promise<void> {
    for await (const run of chain.runs()) {
      if (run.image) await this.addData(run, run.image);
      else this.runs.push({ offset: run.offset, length: run.length });
      if (this.runs.length >= MAX_RUNS) await this.order();
    }
    await this.finish();
  }

  private async addData({ offset, length, fileOffset }: ChainRun, image: Qcow2Image): Promise<void> {
    const whole = length - (length % CLUSTER_BYTES);
    const { path, file } = image;
    for (let at = 0; at < whole; ) {
      const bytes = Math.min(ORDER_BYTES - this.runBytes, whole - at);
      this.runs.push({ path, fd: file.fd, position: fileOffset + at, length: bytes, offset: offset + at });
      this.runBytes += bytes;
      at += bytes;
      if (this.runBytes === ORDER_BYTES) await this.order();
    }
    if (whole === length) return;
    await this.finish();
    const data = await image.read(fileOffset + whole, CLUSTER_BYTES);
    this.observer.checksums?.addData(path, data, fileOffset + whole);
    await this.sink.write(offset + whole, data.subarray(0, length - whole));
    this.observer.onCopied(length - whole);
  }

  /** Orders what was collected. Finishes an earlier order if there are many. */
  private async order(): Promise<void> {
    const step = this.copy(this.runs);
    // A failure is thrown when its turn comes.
    step.catch(() => {});
    this.steps.push(step);
    this.runs = [];
    this.runBytes = 0;
    if (this.steps.length > this.threads.maxInFlight) await this.finishFirst();
  }

  private async copy(runs: readonly (DiskPart | ZeroRun)[]): Promise<() => Promise<void>> {
    const parts = runs.filter((run) => run.path !== undefined);
    const enter = await this.sink.copyInThreads(this.threads, parts);
    return async () => {
      for (const run of runs) {
        if (run.path === undefined) await this.sink.zero(run.offset, run.length);
        else enter(run);
      }
      this.observer.onCopied(parts.reduce((bytes, { length }) => bytes + length, 0));
    };
  }

  private async finish(): Promise<void> {
    await this.order();
    while (this.steps.length > 0) await this.finishFirst();
  }

  private async finishFirst(): Promise<void> {
    const finish = await this.steps.shift()!;
    await finish();
  }
}
