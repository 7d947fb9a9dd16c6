import { MIB } from '../base/units.js';
import { add64 } from '../base/xxh64.js';
import type { AppendFile } from '../qcow2/append-file.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import { Qcow2Error } from '../qcow2/image-file.js';
import type { DiskPart, ImageOrder, ImagePart, ImageResult } from './image-orders.js';
import { OrderThreads, usefulThreads } from './order-threads.js';

/** For fewer bytes, starting threads takes longer than they save. */
export const WORTH_THREADS_BYTES = 256 * MIB;
/** How much to order at once. Each answer wakes the main thread, beside threads that keep all cores busy. */
export const ORDER_BYTES = 8 * MIB;

/** Threads that read images. Aborting `signal` makes their work fail. */
export class ImageThreads implements AsyncDisposable {
  private readonly threads: OrderThreads<ImageOrder, ImageResult>;
  private readonly skip = () => this.threads.skipTheRest();

  /** Gets each part that was copied, and the sum of the `hashCluster` of its clusters. */
  onCopied: ((part: ImagePart, sum: bigint) => void) | undefined;

  constructor(private readonly signal: AbortSignal) {
    this.threads = new OrderThreads(new URL('./image-thread.js', import.meta.url), Array(usefulThreads()).fill({}));
    signal.addEventListener('abort', this.skip);
  }

  /** How many orders to give at a time: enough for the threads to be busy. */
  get maxInFlight(): number {
    return 3 * this.threads.count;
  }

  /** Resolves to the sum of the `hashCluster` of each cluster. */
  async sum(parts: readonly ImagePart[]): Promise<bigint> {
    return (await this.run({ to: 'sum', parts })).sums!.reduce(add64, 0n);
  }

  async copyToDisk(parts: readonly DiskPart[], targetFd: number): Promise<void> {
    this.report(parts, await this.run({ to: 'disk', parts, targetFd, isSummed: this.onCopied !== undefined }));
  }

  /** Appends whole clusters to another image, except those of zeroes. */
  async copyToImage(parts: readonly ImagePart[], { fd, end }: AppendFile): Promise<PlacedClusters> {
    const result = await this.run({ to: 'image', parts, targetFd: fd, end: end.memory });
    this.report(parts, result);
    return result.placed!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal.removeEventListener('abort', this.skip);
    await this.threads[Symbol.asyncDispose]();
  }

  private report(parts: readonly ImagePart[], { sums }: ImageResult): void {
    for (const [i, part] of parts.entries()) this.onCopied?.(part, sums![i]!);
  }

  /** @throws Qcow2Error if an image cannot be read; system errors */
  private async run(order: ImageOrder): Promise<ImageResult> {
    this.signal.throwIfAborted();
    const result = await this.threads.run(order).catch((error: Error) => {
      this.signal.throwIfAborted();
      throw error;
    });
    if (result.damaged) throw new Qcow2Error(result.damaged.path, result.damaged.problem);
    return result;
  }
}
