import type { DiskLocation } from '../api/backup.js';
import { BASE_ALLOCATION } from '../base/metadata-contexts.js';
import { printable } from '../base/printable.js';
import { KIB, MIB } from '../base/units.js';
import type { DetachedConnection } from '../client/detached-connection.js';
import { NbdUnsupportedError } from '../client/errors.js';
import type { TlsDefaults } from '../client/find-tls-files.js';
import type { Posix } from '../posix/posix-calls.js';
import { CLUSTER_BYTES } from '../qcow2/clusters.js';
import { type ClusterRun, planClusters } from './cluster-plan.js';
import { LastingClient, type LastingOptions } from './lasting-client.js';
import { LiveDisk } from './live-disk.js';
import type { LossObserver } from './loss-observer.js';

/** Large enough that the overhead of a request is small. */
const MAX_PIECE_BYTES = 512 * KIB;
const MAX_RECEIVED_BYTES = 256 * KIB;
/** Asking the file system for the holes in a shorter run takes longer than reading the run. */
const LONG_RUN_BYTES = MIB;

/** How to connect to the servers of a pull. */
export interface ReachOptions {
  /** Certificates and keys for URIs that name none. */
  readonly tls?: TlsDefaults | undefined;
  readonly observer?: LossObserver | undefined;
}

export interface ViewSource extends ReachOptions {
  readonly uri: string;
  /** Whether it is a point-in-time view: then it can be read on after a lost connection. */
  readonly isView: boolean;
  /** Undefined if everything counts as changed. */
  readonly dirtyContext: string | undefined;
  /** A context that the server must have, because a later image will depend on it. */
  readonly neededContext?: string | undefined;
  readonly connections: number;
  /** Location of the live disk; undefined to read everything over NBD. */
  readonly disk?: DiskLocation | undefined;
  /** Aborting it makes all calls in progress reject. */
  readonly signal: AbortSignal;
}

/** Reads an export, over several connections if the server says that they all see the same disk. */
export class ViewReader implements AsyncDisposable {
  /** Longest read, in bytes: a multiple of the cluster size. */
  readonly pieceBytes: number;
  /** Length of a read in a thread, which writes and hashes it while it is in the CPU's cache. */
  readonly receivedPieceBytes: number;
  private live: LiveDisk | undefined;
  private next = 0;

  private constructor(
    /** A separate connection, because otherwise a query would wait behind all the data requested before it. */
    private readonly status: LastingClient,
    /** The first one also has the allocation context. */
    private readonly clients: LastingClient[],
    private readonly dirtyContext: string | undefined,
    private readonly more: { readonly uri: string; readonly isView: boolean; readonly how: LastingOptions },
  ) {
    const { maximum } = status.blockSizes;
    this.pieceBytes = Math.min(MAX_PIECE_BYTES, maximum - (maximum % CLUSTER_BYTES));
    this.receivedPieceBytes = Math.min(MAX_RECEIVED_BYTES, this.pieceBytes);
  }

  /** @throws NbdClientError */
  static async open({
    uri,
    dirtyContext,
    neededContext = dirtyContext,
    connections,
    disk,
    isView,
    ...reach
  }: ViewSource): Promise<ViewReader> {
    const how = { ...reach, mayReconnect: () => isView };
    const contexts = new Set([
      dirtyContext ?? BASE_ALLOCATION,
      ...(neededContext === undefined ? [] : [neededContext]),
    ]);
    const status = await LastingClient.connect(uri, { ...how, contexts: [...contexts] });
    const clients: LastingClient[] = [];
    const reader = new ViewReader(status, clients, dirtyContext, { uri, isView, how });
    try {
      reader.checkFitness(neededContext);
      clients.push(await LastingClient.connect(uri, { ...how, contexts: [BASE_ALLOCATION] }));
      const more = status.features.multiConn ? connections - 1 : 0;
      await reader.connectMore(more);
      reader.live = disk && (await LiveDisk.open(disk, uri, how));
      return reader;
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.status.sizeBytes;
  }

  /** Undefined if everything has to be read from the view. */
  get disk(): LiveDisk | undefined {
    return this.live;
  }

  /** Yields what may have to be read: dirty clusters, or in a full backup those that are not zero. */
  async *survey(): AsyncGenerator<ClusterRun> {
    if (this.status.contexts.length > 0) yield* planClusters(this.status, this.dirtyContext);
    else yield { offset: 0, length: this.sizeBytes, kind: 'data' };
  }

  /** Says what to do with every cluster: like the survey, but also finds the zeroes in long dirty runs. */
  async *plan(): AsyncGenerator<ClusterRun> {
    const [client] = this.clients;
    const canAsk = this.dirtyContext !== undefined && client!.contexts.length > 0;
    for await (const run of this.survey()) {
      if (canAsk && run.kind === 'data' && run.length >= LONG_RUN_BYTES) yield* planClusters(client!, undefined, run);
      else yield run;
    }
  }

  /** Whether a lost connection can be replaced by a new one. */
  get isLasting(): boolean {
    return this.more.isView;
  }

  get observer(): LossObserver | undefined {
    return this.more.how.observer;
  }

  async connectMore(count: number): Promise<void> {
    const { uri, how } = this.more;
    for (let i = 0; i < count; i++) this.clients.push(await LastingClient.connect(uri, how));
  }

  /**
   * Gives away up to `count` connections, as far as it does not need them: in an increment, the first one finds zeroes.
   */
  async detach(posix: Posix, count: number): Promise<DetachedConnection[]> {
    const detached: DetachedConnection[] = [];
    const kept = this.dirtyContext === undefined ? 0 : 1;
    while (detached.length < count && this.clients.length > kept) {
      const connection = await this.clients.at(-1)!.detach(posix);
      if (!connection) break;
      detached.push(connection);
      this.clients.pop();
    }
    return detached;
  }

  /** Reads into the start of `into`, or into a new buffer. The connections take turns. */
  read(offset: number, length: number, into?: Buffer): Promise<Buffer> {
    const client = this.clients[this.next++ % this.clients.length] ?? this.status;
    return client.read(offset, length, into);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.status, ...this.clients].map((client) => client.disconnect()));
    await this.live?.[Symbol.asyncDispose]();
  }

  private checkFitness(neededContext: string | undefined): void {
    if (neededContext !== undefined && !this.status.contexts.includes(neededContext)) {
      throw new NbdUnsupportedError(
        `the server has no metadata context "${printable(neededContext)}" for the export`,
        'nbdinfo --list shows those it has',
      );
    }
    if (this.pieceBytes < CLUSTER_BYTES) throw new NbdUnsupportedError('the server sends less than 64 KiB at a time');
  }
}
