import { CLUSTER_BYTES } from './cluster.js';

/** Where a file ends to which several threads append: whoever writes takes a place first. Begins behind the first cluster. */
export class FileEnd {
  private readonly clusters: BigInt64Array;

  private constructor(
    /** For `shared` in another thread. */
    readonly memory: SharedArrayBuffer,
  ) {
    this.clusters = new BigInt64Array(memory);
  }

  static afterHeader(): FileEnd {
    const end = new FileEnd(new SharedArrayBuffer(BigInt64Array.BYTES_PER_ELEMENT));
    end.take(CLUSTER_BYTES);
    return end;
  }

  /** The same end as in the thread that this memory comes from. */
  static shared(memory: SharedArrayBuffer): FileEnd {
    return new FileEnd(memory);
  }

  /** In bytes, as all positions. */
  get position(): number {
    return Number(Atomics.load(this.clusters, 0)) * CLUSTER_BYTES;
  }

  /** Whole clusters that nobody else gets; returns where they are. */
  take(bytes: number): number {
    return Number(Atomics.add(this.clusters, 0, BigInt(bytes / CLUSTER_BYTES))) * CLUSTER_BYTES;
  }
}
