import type { DetachedConnection } from '../client/detached-connection.js';
import { NbdClientError, NbdConnectionError } from '../client/errors.js';
import { loadPosix } from '../posix/posix.js';
import type { Posix } from '../posix/posix-calls.js';
import type { AppendFile } from '../qcow2/append-file.js';
import type { PlacedClusters } from '../qcow2/clusters.js';
import { type CopyThreads, startCopyThreads } from './copy-threads.js';
import { usefulThreads } from './order-threads.js';
import type { RangeCopy } from './range-copy.js';
import { replaceClusters, unreadClusters } from './replace-clusters.js';
import type { ViewReader } from './view-reader.js';

/** Threads, each with a connection of its own. */
interface Crew {
  readonly threads: CopyThreads;
  readonly connections: readonly DetachedConnection[];
}

/**
 * Copies a view over NBD to an image, in threads that each have a connection of their own. What a thread has not read
 * when its connection is lost is read on the event loop. Then new threads get new connections.
 */
export class ReceivedCopy implements RangeCopy {
  private readonly crews: Crew[] = [];
  private renewing: Promise<void> | undefined;
  private readonly skip = () => {
    for (const { threads } of this.crews) threads.skipTheRest();
  };

  private constructor(
    private readonly posix: Posix,
    private readonly reader: ViewReader,
    private readonly file: AppendFile,
    private readonly signal: AbortSignal,
  ) {
    signal.addEventListener('abort', this.skip);
  }

  /** Takes connections of the reader. Undefined if it can give none. Aborting `signal` makes all copies reject. */
  static async begin(reader: ViewReader, file: AppendFile, signal: AbortSignal): Promise<ReceivedCopy | undefined> {
    const posix = loadPosix();
    const connections = posix ? await reader.detach(posix, usefulThreads()) : [];
    signal.throwIfAborted();
    if (connections.length === 0) return undefined;
    const copy = new ReceivedCopy(posix!, reader, file, signal);
    copy.start(connections);
    return copy;
  }

  /** One in progress and one waiting for each thread. */
  get maxInFlight(): number {
    return 2 * this.crew.threads.count;
  }

  async copy(offset: number, length: number): Promise<PlacedClusters> {
    const { crew, signal } = this;
    const placed = await crew.threads.run({ offset, length }).catch((error: Error) => {
      // What made the copy stop says more than what that did to this range.
      throw signal.aborted ? signal.reason : error;
    });
    signal.throwIfAborted();
    const marks = unreadClusters(placed);
    if (!marks.includes(1)) return placed;
    const { observer } = this.reader;
    observer?.lost(new NbdConnectionError('a connection to the NBD server was lost'));
    await replaceClusters(this.reader, this.file, { offset, placed, marks });
    if (this.crew === crew) await this.renew(crew.connections.length);
    observer?.back();
    return placed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal.removeEventListener('abort', this.skip);
    await this.renewing;
    for (const { threads } of this.crews) await threads[Symbol.asyncDispose]();
    for (const { connections } of this.crews) for (const connection of connections) connection[Symbol.dispose]();
  }

  private get crew(): Crew {
    return this.crews.at(-1)!;
  }

  private start(connections: readonly DetachedConnection[]): void {
    const { receivedPieceBytes: pieceBytes, isLasting } = this.reader;
    const sources = connections.map(({ facts }) => ({ connection: facts, pieceBytes, mayBeLost: isLasting }));
    this.crews.push({ threads: startCopyThreads(sources, this.file), connections });
    if (this.signal.aborted) this.skip();
  }

  /** Starts new threads. If they get no connections, the next range tries again. */
  private renew(count: number): Promise<void> {
    this.renewing ??= this.connect(count).finally(() => {
      this.renewing = undefined;
    });
    return this.renewing;
  }

  private async connect(count: number): Promise<void> {
    try {
      await this.reader.connectMore(count);
      const connections = await this.reader.detach(this.posix, count);
      if (connections.length > 0) this.start(connections);
    } catch (error) {
      if (!(error instanceof NbdClientError)) throw error;
    }
  }
}
