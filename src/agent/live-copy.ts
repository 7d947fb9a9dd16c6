import type { AppendFile } from '../qcow2/append-file.js';
import { CLUSTER_BYTES, type PlacedClusters } from '../qcow2/clusters.js';
import { type CopyThreads, startCopyThreads } from './copy-threads.js';
import type { LiveDisk } from './live-disk.js';
import { usefulThreads } from './order-threads.js';
import type { RangeCopy } from './range-copy.js';
import { replaceClusters, unreadClusters, type ViewData } from './replace-clusters.js';

/**
 * Copies a view from the live disk to an image, in threads that ignore overwrites. Afterwards the server is asked what
 * was overwritten, and those clusters are replaced with the view's data.
 */
export class LiveCopy implements RangeCopy {
  private readonly threads: CopyThreads;

  constructor(
    private readonly disk: Pick<LiveDisk, 'fd' | 'overwritten'>,
    private readonly view: ViewData,
    private readonly file: AppendFile,
  ) {
    this.threads = startCopyThreads(Array(usefulThreads()).fill({ fd: disk.fd }), file);
  }

  /**
   * How many ranges to copy at a time: one in progress and one waiting per thread, and some that wait for the server.
   */
  get maxInFlight(): number {
    return 3 * this.threads.count;
  }

  async copy(offset: number, length: number): Promise<PlacedClusters> {
    const placed = await this.threads.run({ offset, length });
    const marks = await this.findWrong(offset, length, placed);
    await replaceClusters(this.view, this.file, { offset, placed, marks });
    return placed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.threads[Symbol.asyncDispose]();
  }

  /** Marks with 1 each cluster that could not be read, or may have been overwritten before it was read. */
  private async findWrong(offset: number, length: number, placed: PlacedClusters): Promise<Uint8Array> {
    const wrong = unreadClusters(placed);
    for await (const extent of this.disk.overwritten(offset, length)) {
      const start = extent.offset - offset;
      wrong.fill(1, Math.floor(start / CLUSTER_BYTES), Math.ceil((start + extent.length) / CLUSTER_BYTES));
    }
    return wrong;
  }
}
