/** Every image has clusters of 64 KiB. */
export const CLUSTER_BITS = 16;
export const CLUSTER_BYTES = 2 ** CLUSTER_BITS;

/** Consecutive clusters of a disk, and where they are in the file of an image. */
export interface PlacedClusters {
  /** In bytes; ZERO_CLUSTER for a cluster of zeroes, which is not in the file. */
  readonly positions: Float64Array;
  /** The `hashCluster` of each cluster that is in the file. */
  readonly hashes: BigUint64Array;
}

/** A position that no cluster of the disk can have, because the header is there. */
export const ZERO_CLUSTER = 0;
