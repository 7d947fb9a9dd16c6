import { type ChainRun, Qcow2Chain } from '../qcow2/chain.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { BufferPool } from './buffer-pool.js';
import type { RateLimit } from './rate-limit.js';
import { ViewReader, type ViewSource } from './view-reader.js';

const PIECES_IN_FLIGHT = 16;

interface CompareOptions {
  readonly limit: RateLimit;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
}

/**
 * Compares a chain of images with a whole disk, which is read over NBD including its holes. Resolves to the offset of
 * the first byte that differs; undefined if none does. @throws NbdClientError, Qcow2Error, system errors
 */
export async function findDifference(
  topPath: string,
  source: Omit<ViewSource, 'dirtyContext' | 'neededContext' | 'disk' | 'signal'>,
  options: CompareOptions,
): Promise<number | undefined> {
  await using chain = await Qcow2Chain.open(topPath);
  await using reader = await ViewReader.open({ ...source, dirtyContext: undefined, signal: options.signal });
  return await new Comparison(chain, reader, options).run();
}

class Comparison {
  /** Buffers for data from the disk; `expectedSlots` are for data from the chain. */
  private readonly slots: BufferPool;
  private readonly expectedSlots: BufferPool;
  private readonly zeroes: Buffer;
  private first = Number.POSITIVE_INFINITY;
  private failure: Error | undefined;
  private doneBytes = 0;

  constructor(
    private readonly chain: Qcow2Chain,
    private readonly reader: ViewReader,
    private readonly options: CompareOptions,
  ) {
    this.slots = new BufferPool(PIECES_IN_FLIGHT, reader.pieceBytes);
    this.expectedSlots = new BufferPool(PIECES_IN_FLIGHT, reader.pieceBytes);
    this.zeroes = Buffer.alloc(reader.pieceBytes);
  }

  async run(): Promise<number | undefined> {
    const { chain, reader } = this;
    if (reader.sizeBytes !== chain.sizeBytes) return Math.min(reader.sizeBytes, chain.sizeBytes);
    for await (const run of chain.runs()) {
      for (let at = 0; at < run.length; at += reader.pieceBytes) {
        if (!(await this.begin(run, at))) break;
      }
      if (this.isOver) break;
    }
    for (let i = 0; i < PIECES_IN_FLIGHT; i++) await this.slots.take();
    if (this.failure) throw this.failure;
    return Number.isFinite(this.first) ? this.first : undefined;
  }

  private get isOver(): boolean {
    return this.failure !== undefined || Number.isFinite(this.first);
  }

  /** Starts to compare a piece. Resolves to false if the comparison is over. */
  private async begin(run: ChainRun, at: number): Promise<boolean> {
    const { limit, signal } = this.options;
    const bytes = Math.min(this.reader.pieceBytes, run.length - at);
    await limit.pass(bytes, signal).catch(() => signal.throwIfAborted());
    const [slot, expectedSlot] = [await this.slots.take(), await this.expectedSlots.take()];
    const release = () => {
      this.slots.give(slot);
      this.expectedSlots.give(expectedSlot);
    };
    if (this.isOver) {
      release();
      return false;
    }
    void this.compare(run, at, slot.subarray(0, bytes), expectedSlot.subarray(0, bytes))
      .catch((error: Error) => {
        this.failure ??= error;
      })
      .finally(release);
    return true;
  }

  private async compare(run: ChainRun, at: number, slot: Buffer, expectedSlot: Buffer): Promise<void> {
    const { image, offset, fileOffset } = run;
    const { length } = slot;
    const [found, expected] = await Promise.all([
      this.reader.read(offset + at, length, slot),
      image ? image.read(fileOffset + at, length, expectedSlot) : this.zeroes.subarray(0, length),
    ]);
    this.doneBytes += length;
    this.options.onProgress(this.doneBytes, this.chain.sizeBytes);
    if (!found.equals(expected)) this.first = Math.min(this.first, offset + at + firstDifferent(found, expected));
  }
}

function firstDifferent(one: Buffer, other: Buffer): number {
  for (let start = 0; ; start += CLUSTER_BYTES) {
    const end = Math.min(start + CLUSTER_BYTES, one.length);
    if (one.compare(other, start, end, start, end) === 0) continue;
    return start + one.subarray(start, end).findIndex((byte, i) => byte !== other[start + i]);
  }
}
