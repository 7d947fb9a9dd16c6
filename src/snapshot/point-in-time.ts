import type { Errno } from '../base/errno.js';
import type { BlockDevice } from '../storage/device/block-device.js';

/**
 * A disk as it was at one instant. There are two kinds: a `Snapshot` copies data before it is overwritten, and a
 * `ClonedDisk` is a clone of the image.
 */
export interface PointInTime {
  /** The read-only view. Once it is broken or has ended, reads return EIO. */
  readonly device: BlockDevice;
  /** Why the view is broken; undefined if it is not. */
  readonly failure: Errno | undefined;
  /** Bytes of scratch space in use, not counting holes. */
  readonly usedBytes: number;
  /** Number of reads so far. */
  readonly reads: number;

  /**
   * Releases the pieces that lie wholly inside the range: their scratch space is freed, and reading any byte of them
   * returns EIO.
   */
  release(offset: number, length: number): Promise<Errno>;

  /** Breaks the view if old data was lost between the page cache and the storage under scratch. */
  checkScratch(): Promise<void>;

  /** Ends the view and frees its space. */
  close(): Promise<void>;
}
