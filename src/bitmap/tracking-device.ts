import type { Errno, WOULD_BLOCK } from '../base/errno.js';
import type { BlockDevice, ZeroOptions } from '../storage/block-device.js';
import { FilterDevice } from '../storage/filter-device.js';
import type { BitmapSet } from './bitmap-set.js';

/**
 * Records what changes: every range is marked in the recording bitmaps before it is handed to storage. A change that
 * fails, or has to be asked for again, leaves its marks: dirty bits are a superset of the truth, never less.
 */
export class TrackingDevice extends FilterDevice {
  constructor(
    inner: BlockDevice,
    private readonly bitmaps: BitmapSet,
  ) {
    super(inner);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    this.mark(offset, length);
    return this.inner.writeNow(source, start, length, offset);
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    this.mark(offset, length);
    return this.inner.write(source, start, length, offset);
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    this.mark(offset, length);
    return this.inner.zero(offset, length, options);
  }

  override trim(offset: number, length: number): Promise<Errno> {
    this.mark(offset, length);
    return this.inner.trim(offset, length);
  }

  private mark(offset: number, length: number): void {
    if (length > 0) this.bitmaps.markDirty(offset, length);
  }
}
