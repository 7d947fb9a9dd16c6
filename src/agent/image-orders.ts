import type { PlacedClusters } from '../qcow2/clusters.js';
import type { Qcow2Error } from '../qcow2/image-file.js';

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

/** Work for a thread: sum the hashes of parts, or copy parts into a disk or to the end of another image. */
export type ImageOrder =
  | { readonly to: 'sum'; readonly parts: readonly ImagePart[] }
  | {
      readonly to: 'disk';
      readonly parts: readonly DiskPart[];
      readonly targetFd: number;
      /** Whether the sums are wanted too. */
      readonly isSummed: boolean;
    }
  | {
      readonly to: 'image';
      /** Whole clusters. */
      readonly parts: readonly ImagePart[];
      readonly targetFd: number;
      /** Memory of a `FileEnd`. */
      readonly end: SharedArrayBuffer;
    };

export interface ImageResult {
  /** For each part, the sum of `hashCluster` of each of its clusters. */
  readonly sums?: BigUint64Array;
  /** All clusters of all parts. */
  readonly placed?: PlacedClusters;
  /** What is wrong with an image that could not be read; then there is nothing else. */
  readonly damaged?: Pick<Qcow2Error, 'path' | 'problem'>;
}
