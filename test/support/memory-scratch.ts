import { ScratchDirectory } from '../../src/backup/scratch-directory.js';
import { type Errno, OK } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import type { Scratch } from '../../src/snapshot/scratch.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { FaultyDevice } from './faulty-device.js';
import { MemoryDevice } from './memory-device.js';
import { scratchFolder } from './scratch-folder.js';

/** Scratch in memory that can be made to fail, and counts how much of it is in use. */
export class MemoryScratch extends ScratchDirectory {
  /** The open devices, oldest first. */
  readonly devices: CountedDevice[] = [];
  /** The free bytes that it reports. */
  free = Number.POSITIVE_INFINITY;

  constructor() {
    super(scratchFolder(), { posix: undefined, log: silentLog });
  }

  override async open(sizeBytes: number): Promise<Scratch> {
    const device: CountedDevice = new CountedDevice(new MemoryDevice(sizeBytes), () => {
      this.devices.splice(this.devices.indexOf(device), 1);
    });
    this.devices.push(device);
    return device;
  }

  override async freeBytes(): Promise<number> {
    return this.free;
  }
}

class CountedDevice extends FaultyDevice {
  /** The answer of `lostWrites`. */
  lost: Errno = OK;

  constructor(
    inner: BlockDevice,
    private readonly closed: () => void,
  ) {
    super(inner);
  }

  async lostWrites(): Promise<Errno> {
    return this.lost;
  }

  override async close(): Promise<void> {
    this.closed();
  }
}
