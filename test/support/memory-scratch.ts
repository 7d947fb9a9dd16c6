import { ScratchDirectory } from '../../src/backup/scratch-directory.js';
import { silentLog } from '../../src/base/log.js';
import type { BlockDevice } from '../../src/storage/block-device.js';
import { MemoryDevice } from '../../src/storage/memory-device.js';
import { FaultyDevice } from './faulty-device.js';
import { scratchFolder } from './scratch-folder.js';

/** Scratch in memory, which tells how much of it is in use, and can be told to fail. */
export class MemoryScratch extends ScratchDirectory {
  /** The devices that are open, oldest first. */
  readonly devices: FaultyDevice[] = [];
  /** Bytes that are said to be free. */
  free = Number.POSITIVE_INFINITY;

  constructor() {
    super(scratchFolder(), { posix: undefined, log: silentLog });
  }

  override async open(sizeBytes: number): Promise<BlockDevice> {
    const device = new CountedDevice(new MemoryDevice(sizeBytes), () => {
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
  constructor(
    inner: BlockDevice,
    private readonly closed: () => void,
  ) {
    super(inner);
  }

  override async close(): Promise<void> {
    this.closed();
  }
}
