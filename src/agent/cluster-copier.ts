import { readSync, writeSync } from 'node:fs';
import { KIB } from '../base/units.js';
import { hashCluster } from '../qcow2/cluster-hash.js';
import { CLUSTER_BYTES, type PlacedClusters, ZERO_CLUSTER } from '../qcow2/clusters.js';
import { contentRuns } from '../qcow2/content-runs.js';
import type { FileEnd } from '../qcow2/file-end.js';

/** Small enough that a piece is still in the CPU's cache when it is hashed and written. */
const PIECE_BYTES = 128 * KIB;

/** Stands in for the position of a cluster that could not be read. */
export const UNREAD_CLUSTER = -1;

/** Copies clusters of a disk to the end of an image with blocking calls. Runs in a thread of its own. */
export class ClusterCopier {
  private readonly piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

  constructor(
    private readonly sourceFd: number,
    private readonly targetFd: number,
    private readonly end: FileEnd,
    /** Called before each piece. Once true, the remaining clusters count as unread. */
    private readonly isStopped: () => boolean = () => false,
  ) {}

  /** Copies whole clusters. @throws system errors from writing */
  copy(offset: number, length: number): PlacedClusters {
    const clusters = length / CLUSTER_BYTES;
    const placed = {
      positions: new Float64Array(clusters).fill(UNREAD_CLUSTER),
      hashes: new BigUint64Array(clusters),
    };
    for (let at = 0; at < length && !this.isStopped(); at += PIECE_BYTES) {
      const piece = this.piece.subarray(0, Math.min(PIECE_BYTES, length - at));
      if (this.fill(piece, offset + at)) this.place(piece, placed, at / CLUSTER_BYTES);
    }
    return placed;
  }

  /** Returns whether the whole piece could be read. */
  private fill(piece: Buffer, offset: number): boolean {
    try {
      return readSync(this.sourceFd, piece, 0, piece.length, offset) === piece.length;
    } catch {
      return false;
    }
  }

  private place(piece: Buffer, { positions, hashes }: PlacedClusters, first: number): void {
    for (const { start, end, isZero } of contentRuns(piece)) {
      const position = isZero ? ZERO_CLUSTER : this.append(piece.subarray(start, end));
      for (let at = start; at < end; at += CLUSTER_BYTES) {
        const cluster = first + at / CLUSTER_BYTES;
        positions[cluster] = isZero ? ZERO_CLUSTER : position + at - start;
        if (!isZero) hashes[cluster] = hashCluster(piece.subarray(at, at + CLUSTER_BYTES), positions[cluster]!);
      }
    }
  }

  /** Returns the position of the data. */
  private append(data: Buffer): number {
    const position = this.end.take(data.length);
    for (let done = 0; done < data.length; ) {
      done += writeSync(this.targetFd, data, done, data.length - done, position + done);
    }
    return position;
  }
}
