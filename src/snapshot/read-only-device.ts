import { EPERM, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import type { BlockDevice, DeviceCapabilities } from '../storage/device/block-device.js';

/** A disk that never changes. */
export abstract class ReadOnlyDevice implements BlockDevice {
  readonly capabilities: DeviceCapabilities;

  /** `live` is the disk that this one shows at an earlier instant. */
  constructor(live: BlockDevice) {
    const { rotational } = live.capabilities;
    this.capabilities = { readOnly: true, rotational, trim: false, fastZero: false };
  }

  abstract get sizeBytes(): number;
  abstract readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK;
  abstract read(target: Buffer, start: number, length: number, offset: number): Promise<Errno>;
  abstract holeNow(offset: number, length: number): number;
  abstract extents(offset: number, length: number, list: ExtentList): Promise<Errno>;

  /** The pages may be those of the live disk. */
  lendNow(): typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  writeNow(): Errno {
    return EPERM;
  }

  async write(): Promise<Errno> {
    return EPERM;
  }

  async zero(): Promise<Errno> {
    return EPERM;
  }

  async trim(): Promise<Errno> {
    return EPERM;
  }

  async flush(): Promise<Errno> {
    return OK;
  }

  async cache(): Promise<Errno> {
    return OK;
  }

  async close(): Promise<void> {}
}
