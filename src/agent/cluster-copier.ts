import { readSync } from 'node:fs';
import { KIB } from '../base/units.js';
import { CLUSTER_BYTES, type PlacedClusters } from '../qcow2/clusters.js';
import { type ClusterPlacer, unplacedClusters } from './cluster-placer.js';

/** Small enough that a piece is still in the CPU's cache when it is hashed and written. */
const PIECE_BYTES = 128 * KIB;

/** Copies clusters of a disk to the end of an image with blocking calls. Runs in a thread of its own. */
export class ClusterCopier {
  private readonly piece = Buffer.allocUnsafeSlow(PIECE_BYTES);

  constructor(
    private readonly sourceFd: number,
    private readonly placer: ClusterPlacer,
    /** Called before each piece. Once true, the remaining clusters count as unread. */
    private readonly isStopped: () => boolean = () => false,
  ) {}

  /** Copies whole clusters. @throws system errors from writing */
  copy(offset: number, length: number): PlacedClusters {
    const placed = unplacedClusters(length);
    for (let at = 0; at < length && !this.isStopped(); at += PIECE_BYTES) {
      const piece = this.piece.subarray(0, Math.min(PIECE_BYTES, length - at));
      if (this.fill(piece, offset + at)) this.placer.place(piece, placed, at / CLUSTER_BYTES);
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
}
