import type { DetachedConnection } from '../client/detached-connection.js';
import { loadPosix } from '../posix/posix.js';
import type { AppendFile } from '../qcow2/append-file.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import { type CopyThreads, startCopyThreads } from './copy-threads.js';
import { usefulThreads } from './order-threads.js';
import type { RangeCopy } from './range-copy.js';
import type { ViewReader } from './view-reader.js';

/** Copies a view over NBD to an image, in threads that each have a connection of their own. */
export class ReceivedCopy implements RangeCopy {
  private readonly threads: CopyThreads;
  private readonly skip = () => this.threads.skipTheRest();

  private constructor(
    private readonly connections: readonly DetachedConnection[],
    { receivedPieceBytes: pieceBytes }: ViewReader,
    file: AppendFile,
    private readonly signal: AbortSignal,
  ) {
    const sources = connections.map(({ facts }) => ({ connection: facts, pieceBytes }));
    this.threads = startCopyThreads(sources, file);
    signal.addEventListener('abort', this.skip);
  }

  /** Takes connections of the reader. Undefined if it can give none. Aborting `signal` makes all copies reject. */
  static async begin(reader: ViewReader, file: AppendFile, signal: AbortSignal): Promise<ReceivedCopy | undefined> {
    const posix = loadPosix();
    const connections = posix ? await reader.detach(posix, usefulThreads()) : [];
    signal.throwIfAborted();
    return connections.length > 0 ? new ReceivedCopy(connections, reader, file, signal) : undefined;
  }

  /** One in progress and one waiting for each thread. */
  get maxInFlight(): number {
    return 2 * this.threads.count;
  }

  copy(offset: number, length: number): Promise<PlacedClusters> {
    return this.threads.run({ offset, length });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal.removeEventListener('abort', this.skip);
    await this.threads[Symbol.asyncDispose]();
    for (const connection of this.connections) connection[Symbol.dispose]();
  }
}
