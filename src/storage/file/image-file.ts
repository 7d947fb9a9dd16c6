import { wholeSectors } from '../../base/units.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { DiskShare } from './disk-threads.js';
import type { FaultLog } from './fault-log.js';

/** The open image, shared by the parts of a file device. */
export class ImageFile {
  /**
   * How many calls in the thread pool hold the kernel's lock on the file, which every change takes. A write on the
   * event loop might have to wait for them.
   */
  exclusiveCalls = 0;

  constructor(
    readonly fd: number,
    /** The file is in memory (tmpfs, ramfs), so transfers never wait for a disk. */
    readonly inMemory: boolean,
    readonly posix: Posix,
    readonly faults: FaultLog,
    /** The disk's share of the thread pool. The calls of `posix` already respect it. */
    readonly share: DiskShare,
    /** The end of the image, if it lies inside the disk's last sector; the rest of that sector reads as zeroes. */
    readonly endsWithin?: number | undefined,
  ) {}

  /** Maps the end of an image that ends inside a sector to the end of the disk. Other positions stay the same. */
  filledUp(position: number): number {
    return position === this.endsWithin ? wholeSectors(position) : position;
  }

  /** Runs a call while other changes to the file wait for it to finish. */
  async exclusively<T>(call: () => Promise<T>): Promise<T> {
    this.exclusiveCalls++;
    try {
      return await call();
    } finally {
      this.exclusiveCalls--;
    }
  }
}
