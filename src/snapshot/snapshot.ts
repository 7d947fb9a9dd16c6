import { EIO, type Errno, type WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { OldData } from './old-data.js';
import type { PointInTime } from './point-in-time.js';
import type { SnapshotOptions } from './snapshot-options.js';
import { ViewDevice } from './view-device.js';

/** A disk as it was when the snapshot was attached to the disk's `CopyBeforeWrite`. */
export class Snapshot implements PointInTime {
  readonly device: BlockDevice;
  private readonly old: OldData;
  private readonly view: ViewDevice;
  private liveReads = 0;
  private closed: Promise<void> | undefined;

  constructor(options: SnapshotOptions) {
    this.old = new OldData(options);
    this.view = new ViewDevice(this.old);
    this.device = this.view;
  }

  get failure(): Errno | undefined {
    return this.old.failure;
  }

  get usedBytes(): number {
    return this.old.usedBytes;
  }

  /** Includes calls of `overwritten`, each of which stands for a read of the live disk. */
  get reads(): number {
    return this.view.reads + this.liveReads;
  }

  /**
   * For the filter: saves the old data that a change of the range is about to destroy. The writer fails with the
   * returned errno. Nearly free if everything was saved before.
   */
  saveNow(offset: number, length: number): Errno | typeof WOULD_BLOCK {
    return this.old.saveNow(offset, length);
  }

  /** Continues after `saveNow` returned WOULD_BLOCK. */
  save(offset: number, length: number): Promise<Errno> {
    return this.old.save(offset, length);
  }

  /**
   * For a client that has just read the range on the live disk: appends 0 where it read the data of the view, and
   * OVERWRITTEN where it may have read new data. EIO if the view is broken or has ended.
   */
  overwritten(offset: number, length: number, list: ExtentList): Errno {
    this.liveReads++;
    return this.old.overwritten(offset, length, list);
  }

  async release(offset: number, length: number): Promise<Errno> {
    const { pieces, ended } = this.old;
    if (ended) return EIO;
    const { from, end } = pieces.inside(offset, length);
    return this.old.release(from, end);
  }

  checkScratch(): Promise<void> {
    return this.old.checkScratch();
  }

  /** Ends the view: reads return EIO from now on, and writers no longer copy anything for it. */
  end(): void {
    this.old.end();
  }

  close(): Promise<void> {
    this.closed ??= this.old.close();
    return this.closed;
  }
}
