import { writeSync } from 'node:fs';
import { hash64, hashAt } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES, type PlacedClusters, ZERO_CLUSTER } from '../qcow2/clusters.js';
import { contentRuns } from '../qcow2/content-runs.js';
import type { FileEnd } from '../qcow2/file-end.js';

/** Stands in for the position of a cluster that could not be read. */
export const UNREAD_CLUSTER = -1;

/** Clusters that have no place yet. */
export function unplacedClusters(lengthBytes: number): PlacedClusters {
  const count = lengthBytes / CLUSTER_BYTES;
  return { positions: new Float64Array(count).fill(UNREAD_CLUSTER), hashes: new BigUint64Array(count) };
}

/** Appends clusters to an image with blocking calls, for a thread. */
export class ClusterPlacer {
  constructor(
    private readonly fd: number,
    private readonly end: FileEnd,
  ) {}

  /**
   * Appends whole clusters, except those of zeroes, and enters them from `first` on. `onHash` gets the XXH64 of every
   * cluster, and where it is in `data`. @throws system errors
   */
  place(
    data: Buffer,
    { positions, hashes }: PlacedClusters,
    first: number,
    onHash?: (hash: bigint, at: number) => void,
  ): void {
    for (const { start, end, isZero } of contentRuns(data)) {
      const position = isZero ? ZERO_CLUSTER : this.append(data.subarray(start, end));
      for (let at = start; at < end; at += CLUSTER_BYTES) {
        const cluster = first + at / CLUSTER_BYTES;
        positions[cluster] = isZero ? ZERO_CLUSTER : position + at - start;
        if (isZero && !onHash) continue;
        const hash = hash64(data.subarray(at, at + CLUSTER_BYTES));
        if (!isZero) hashes[cluster] = hashAt(positions[cluster]!, hash);
        onHash?.(hash, at);
      }
    }
  }

  /** Returns the position of the data. */
  private append(data: Buffer): number {
    const position = this.end.take(data.length);
    for (let done = 0; done < data.length; ) {
      done += writeSync(this.fd, data, done, data.length - done, position + done);
    }
    return position;
  }
}
