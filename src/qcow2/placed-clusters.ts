/** Clusters of a disk, by ascending offset, and where they were put in the file of an image. */
export interface PlacedClusters {
  /** Bytes; ZERO_CLUSTER when it is all zero, and has no place. */
  readonly positions: Float64Array;
  /** `hashCluster` of each that has a place. */
  readonly hashes: BigUint64Array;
}

/** The header lies there, and nothing else can. */
export const ZERO_CLUSTER = 0;
