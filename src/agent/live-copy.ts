import type { AppendFile } from '../qcow2/append-file.js';
import { hashCluster } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES, type PlacedClusters, ZERO_CLUSTER } from '../qcow2/clusters.js';
import { contentRuns } from '../qcow2/content-runs.js';
import { UNREAD_CLUSTER } from './cluster-placer.js';
import { type CopyThreads, startCopyThreads } from './copy-threads.js';
import type { LiveDisk } from './live-disk.js';
import { usefulThreads } from './order-threads.js';
import type { RangeCopy } from './range-copy.js';

/** Reads a view over NBD. */
export interface ViewData {
  /** Longest read, in bytes: a multiple of the cluster size. */
  readonly pieceBytes: number;
  read(offset: number, length: number): Promise<Buffer>;
}

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
    const wrong = await this.findWrong(offset, length, placed);
    for (const { first, count } of runsOf(wrong, this.view.pieceBytes / CLUSTER_BYTES)) {
      const data = await this.view.read(offset + first * CLUSTER_BYTES, count * CLUSTER_BYTES);
      await this.replace(placed, first, data);
    }
    return placed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.threads[Symbol.asyncDispose]();
  }

  /** Marks with 1 each cluster that could not be read, or may have been overwritten before it was read. */
  private async findWrong(offset: number, length: number, { positions }: PlacedClusters): Promise<Uint8Array> {
    const wrong = Uint8Array.from(positions, (position) => (position === UNREAD_CLUSTER ? 1 : 0));
    for await (const extent of this.disk.overwritten(offset, length)) {
      const start = extent.offset - offset;
      wrong.fill(1, Math.floor(start / CLUSTER_BYTES), Math.ceil((start + extent.length) / CLUSTER_BYTES));
    }
    return wrong;
  }

  /** Replaces the data of clusters, at their position or at a new one. */
  private async replace({ positions, hashes }: PlacedClusters, first: number, data: Buffer): Promise<void> {
    const written: Promise<void>[] = [];
    for (const { start, end, isZero } of contentRuns(data)) {
      for (let at = start; at < end; at += CLUSTER_BYTES) {
        const cluster = first + at / CLUSTER_BYTES;
        const hasPlace = positions[cluster]! > ZERO_CLUSTER;
        if (isZero && !hasPlace) {
          positions[cluster] = ZERO_CLUSTER;
          continue;
        }
        const position = hasPlace ? positions[cluster]! : this.file.end.take(CLUSTER_BYTES);
        const content = data.subarray(at, at + CLUSTER_BYTES);
        written.push(this.file.write(content, position));
        positions[cluster] = position;
        hashes[cluster] = hashCluster(content, position);
      }
    }
    await Promise.all(written);
  }
}

/** Yields the runs of ones, none longer than `maxCount`. */
function* runsOf(marks: Uint8Array, maxCount: number): Generator<{ first: number; count: number }> {
  for (let first = marks.indexOf(1); first !== -1; ) {
    let end = first + 1;
    while (end - first < maxCount && marks[end] === 1) end++;
    yield { first, count: end - first };
    first = marks.indexOf(1, end);
  }
}
