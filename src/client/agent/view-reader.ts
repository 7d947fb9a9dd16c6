import { KIB } from '../../base/units.js';
import { BASE_ALLOCATION } from '../context-kind.js';
import { NbdUnsupportedError, printable } from '../errors.js';
import { NbdClient } from '../nbd-client.js';
import { CLUSTER_BYTES } from '../qcow2/format.js';
import { type ClusterRun, planClusters } from './cluster-plan.js';

/** Long enough that a request costs little beside its data. */
const MAX_PIECE_BYTES = 512 * KIB;

export interface ViewSource {
  readonly uri: string;
  /** Undefined: everything counts as changed. */
  readonly dirtyContext: string | undefined;
  readonly connections: number;
}

/** An export that is being read, over several connections when the server says that they see the same disk. */
export class ViewReader implements AsyncDisposable {
  /** Longest read: whole clusters, and bytes. */
  readonly pieceBytes: number;
  private next = 0;

  private constructor(
    private readonly clients: readonly NbdClient[],
    private readonly dirtyContext: string | undefined,
  ) {
    const { maximum } = clients[0]!.blockSizes;
    this.pieceBytes = Math.min(MAX_PIECE_BYTES, maximum - (maximum % CLUSTER_BYTES));
  }

  /** @throws NbdClientError */
  static async open({ uri, dirtyContext, connections }: ViewSource): Promise<ViewReader> {
    const contexts = [BASE_ALLOCATION, ...(dirtyContext === undefined ? [] : [dirtyContext])];
    const clients = [await NbdClient.connect(uri, { contexts })];
    const reader = new ViewReader(clients, dirtyContext);
    try {
      reader.checkFitness();
      const more = clients[0]!.features.multiConn ? connections - 1 : 0;
      for (let i = 0; i < more; i++) clients.push(await NbdClient.connect(uri));
      return reader;
    } catch (error) {
      await reader[Symbol.asyncDispose]();
      throw error;
    }
  }

  get sizeBytes(): number {
    return this.clients[0]!.sizeBytes;
  }

  /** What is to be done with every cluster. Can be asked again. */
  plan(): AsyncGenerator<ClusterRun> {
    const [client] = this.clients;
    if (client!.contexts.length > 0) return planClusters(client!, this.dirtyContext);
    return everything(client!.sizeBytes);
  }

  /** Reads into the beginning of `into`; the connections take turns. */
  read(offset: number, length: number, into: Buffer): Promise<Buffer> {
    const client = this.clients[this.next++ % this.clients.length]!;
    return client.read(offset, length, into);
  }

  /** Ends all that is under way, which rejects. */
  abort(): void {
    for (const client of this.clients) client.abort();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.clients.map((client) => client.disconnect()));
  }

  private checkFitness(): void {
    const { contexts } = this.clients[0]!;
    if (this.dirtyContext !== undefined && !contexts.includes(this.dirtyContext)) {
      throw new NbdUnsupportedError(
        `the server has no metadata context "${printable(this.dirtyContext)}" for the export`,
        'nbdinfo --list shows those it has',
      );
    }
    if (this.pieceBytes < CLUSTER_BYTES) throw new NbdUnsupportedError('the server sends less than 64 KiB at a time');
  }
}

/** Of a server that tells nothing. */
async function* everything(sizeBytes: number): AsyncGenerator<ClusterRun> {
  yield { offset: 0, length: sizeBytes, kind: 'data' };
}
