import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { MemoryDevice } from './memory-device.js';

/** A disk in memory that other programs can find, so that it may be cloned. */
export class FoundDisk extends MemoryDevice {
  async identify() {
    return { kind: 'file', id: '1:1', sizeBytes: this.sizeBytes } as const;
  }

  clone(): BlockDevice {
    const content = Buffer.alloc(this.sizeBytes);
    this.readNow(content, 0, content.length, 0);
    const clone = new MemoryDevice(this.sizeBytes);
    clone.writeNow(content, 0, content.length, 0);
    return clone;
  }
}
