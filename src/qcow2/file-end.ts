import { CLUSTER_BYTES } from './clusters.js';

/** The end of a file that several threads append to. A thread takes a position here before it writes. */
export class FileEnd {
  private readonly clusters: BigInt64Array;

  private constructor(
    /** To pass to `shared` in another thread. */
    readonly memory: SharedArrayBuffer,
  ) {
    this.clusters = new BigInt64Array(memory);
  }

  /** The end of a file that has only its first cluster. */
  static afterHeader(): FileEnd {
    const end = new FileEnd(new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT));
    end.take(CLUSTER_BYTES);
    return end;
  }

  /** Shares the end of a file with the thread that this memory comes from. */
  static shared(memory: SharedArrayBuffer): FileEnd {
    return new FileEnd(memory);
  }

  /** In bytes, like all positions. */
  get position(): number {
    return Number(Atomics.load(this.clusters, 0)) * CLUSTER_BYTES;
  }

  /** Reserves whole clusters. Returns their position. */
  take(bytes: number): number {
    return Number(Atomics.add(this.clusters, 0, BigInt(bytes / CLUSTER_BYTES))) * CLUSTER_BYTES;
  }
}
