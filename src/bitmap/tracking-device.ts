import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import type { BlockDevice, ZeroOptions } from '../storage/device/block-device.js';
import { FilterDevice } from '../storage/device/filter-device.js';
import type { PagePipe } from '../storage/device/page-pipe.js';
import type { ChangeRecorder } from './change-recorder.js';
import { WriteActivity } from './write-activity.js';

/**
 * Records every change before it is handed to storage. A change that fails or has to be repeated stays recorded: extra
 * dirty bits are harmless, missing ones are not.
 */
export class TrackingDevice extends FilterDevice {
  constructor(
    inner: BlockDevice,
    private readonly recorder: ChangeRecorder,
    private readonly activity = new WriteActivity(),
  ) {
    super(inner);
  }

  override lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    return this.inner.lendNow(pipe, length, offset);
  }

  override writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (length > 0 && !this.recorder.recordNow(offset, length)) return WOULD_BLOCK;
    const errno = this.writeExplained(source, start, length, offset);
    this.activity.ended();
    return errno;
  }

  override write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    return this.change(offset, length, () => this.writeRecorded(source, start, length, offset));
  }

  override zero(offset: number, length: number, options: ZeroOptions): Promise<Errno> {
    return this.change(offset, length, () => {
      const sectors = this.activity.explained?.beganZeroing(offset, length);
      return this.explain(sectors, () => this.inner.zero(offset, length, options));
    });
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.change(offset, length, () => {
      const sectors = this.activity.explained?.began(offset, length);
      return this.explain(sectors, () => this.inner.trim(offset, length));
    });
  }

  override flush(): Promise<Errno> {
    const { explained } = this.activity;
    if (!explained) return this.inner.flush();
    const succeeded = explained.flushing();
    return this.inner.flush().then((errno) => {
      if (errno === OK) succeeded();
      return errno;
    });
  }

  /** Tries without waiting first: the write may have waited only to be recorded, and the device may be ready. */
  private async writeRecorded(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const errno = this.writeExplained(source, start, length, offset);
    if (errno !== WOULD_BLOCK) return errno;
    const sectors = this.activity.explained?.began(offset, length);
    return this.explain(sectors, () => this.inner.write(source, start, length, offset));
  }

  private writeExplained(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    const { explained } = this.activity;
    if (!explained) return this.inner.writeNow(source, start, length, offset);
    const sectors = explained.began(offset, length);
    const errno = this.inner.writeNow(source, start, length, offset);
    if (errno === WOULD_BLOCK) explained.refused(sectors);
    else explained.over(sectors);
    return errno;
  }

  /** `sectors` is what `explained` returned when the change began; undefined if nothing explains it. */
  private async explain(sectors: number | undefined, make: () => Promise<Errno>): Promise<Errno> {
    const { explained } = this.activity;
    if (!explained || sectors === undefined) return make();
    try {
      return await make();
    } finally {
      explained.over(sectors);
    }
  }

  private async change(offset: number, length: number, make: () => Promise<Errno>): Promise<Errno> {
    this.activity.pending++;
    try {
      const atOnce = length === 0 || (length <= this.recorder.sliceBytes && this.recorder.recordNow(offset, length));
      if (!atOnce) {
        const errno = await this.recorder.record(offset, length);
        if (errno !== OK) return errno;
      }
      return await make();
    } finally {
      this.activity.pending--;
      this.activity.ended();
    }
  }
}
