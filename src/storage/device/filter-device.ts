import { type Errno, type OK, WOULD_BLOCK } from '../../base/errno.js';
import type { ExtentList } from '../../base/extents.js';
import type { BlockDevice, DeviceCapabilities, ZeroOptions } from './block-device.js';
import type { PagePipe } from './page-pipe.js';

/**
 * A device that passes every call to the device below it. A filter extends it and overrides what it changes.
 *
 * A filter that overrides one method of a pair (`readNow` and `read`, `writeNow` and `write`) usually has to override
 * the other too. `close` leaves the inner device open, because the filter did not open it. Override `close` to release
 * what the filter itself opened.
 */
export abstract class FilterDevice implements BlockDevice {
  constructor(protected readonly inner: BlockDevice) {}

  get sizeBytes(): number {
    return this.inner.sizeBytes;
  }

  get capabilities(): DeviceCapabilities {
    return this.inner.capabilities;
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.inner.readNow(target, start, length, offset);
  }

  /** Not passed on: only a filter under which data may change at any time can let its pages be lent. */
  lendNow(_pipe: PagePipe, _length: number, _offset: number): typeof OK | typeof WOULD_BLOCK {
    return WOULD_BLOCK;
  }

  read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.inner.read(target, start, length, offset);
  }

  holeNow(offset: number, length: number): number {
    return this.inner.holeNow(offset, length);
  }

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    return this.inner.writeNow(source, start, length, offset);
  }

  write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.inner.write(source, start, length, offset);
  }

  zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.inner.zero(offset, length, options);
  }

  trim(offset: number, length: number): Promise<Errno> {
    return this.inner.trim(offset, length);
  }

  flush(): Promise<Errno> {
    return this.inner.flush();
  }

  cache(offset: number, length: number): Promise<Errno> {
    return this.inner.cache(offset, length);
  }

  extents(offset: number, length: number, list: ExtentList): Promise<Errno> {
    return this.inner.extents(offset, length, list);
  }

  async close(): Promise<void> {}
}
