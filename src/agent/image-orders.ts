import type { PlacedClusters } from '../qcow2/clusters.js';

/** A part of an image that is open for reading. */
export interface ImagePart {
  readonly path: string;
  readonly fd: number;
  /** In the file; a multiple of the cluster size. */
  readonly position: number;
  readonly length: number;
}

/** A part, and where its data is on the disk. */
export interface DiskPart extends ImagePart {
  readonly offset: number;
}

/** Work for a thread: sum the hashes of a part, or copy parts into a disk or to the end of another image. */
export type ImageOrder =
  | { readonly to: 'sum'; readonly part: ImagePart }
  | { readonly to: 'disk'; readonly parts: readonly DiskPart[]; readonly targetFd: number }
  | {
      readonly to: 'image';
      /** Whole clusters. */
      readonly parts: readonly ImagePart[];
      readonly targetFd: number;
      /** Memory of a `FileEnd`. */
      readonly end: SharedArrayBuffer;
    };

export interface ImageResult {
  /** The sum of `hashCluster` of each cluster. */
  readonly sum?: bigint;
  /** All clusters of all parts. */
  readonly placed?: PlacedClusters;
  /** The path of a file that ended too early; then there is nothing else. */
  readonly tooShort?: string;
}
