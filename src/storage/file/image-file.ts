import { wholeSectors } from '../../base/units.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { DiskShare } from './disk-threads.js';
import type { FaultLog } from './fault-log.js';

/** The image behind a file device, as the parts of the device share it. */
export class ImageFile {
  /**
   * Calls in the thread pool that hold the lock which the kernel takes on the file for each change. Meanwhile a write
   * on the event loop might wait for them.
   */
  exclusiveCalls = 0;

  constructor(
    readonly fd: number,
    /** The file is memory (tmpfs, ramfs): transfers never wait for a disk. */
    readonly inMemory: boolean,
    readonly posix: Posix,
    readonly faults: FaultLog,
    /** What the disk may use of the thread pool; the calls of `posix` keep to it by themselves. */
    readonly share: DiskShare,
    /** Where the image ends within the disk's last sector; the rest of that reads as zeroes. Undefined: nowhere. */
    readonly endsWithin?: number | undefined,
  ) {}

  /** The end of the disk for the end of an image that is filled up; any other position as it is. */
  filledUp(position: number): number {
    return position === this.endsWithin ? wholeSectors(position) : position;
  }

  /** Runs a call of which other changes of the file have to wait for the end. */
  async exclusively<T>(call: () => Promise<T>): Promise<T> {
    this.exclusiveCalls++;
    try {
      return await call();
    } finally {
      this.exclusiveCalls--;
    }
  }
}
