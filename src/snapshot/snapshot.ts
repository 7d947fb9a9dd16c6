import { EIO, type Errno, type WOULD_BLOCK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import { OldData } from './old-data.js';
import type { SnapshotOptions } from './snapshot-options.js';
import { ViewDevice } from './view-device.js';

/** A disk as it was when this was attached to its `CopyBeforeWrite`. */
export class Snapshot {
  /** The view: read-only. EIO from the time on that it is broken or has ended. */
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

  /** Bytes of old data in scratch. Holes take none. */
  get usedBytes(): number {
    return this.old.usedBytes;
  }

  /** How many reads of the view there were, those of the live disk in its place among them. */
  get reads(): number {
    return this.view.reads + this.liveReads;
  }

  /**
   * For the filter: keeps what a change of the range is about to destroy. An errno is one for the writer. Costs next to
   * nothing when all of it is kept already.
   */
  saveNow(offset: number, length: number): Errno | typeof WOULD_BLOCK {
    return this.old.saveNow(offset, length);
  }

  /** Goes on where `saveNow` answered WOULD_BLOCK. */
  save(offset: number, length: number): Promise<Errno> {
    return this.old.save(offset, length);
  }

  /**
   * For whoever has read the range on the live disk: appends OVERWRITTEN where that may have been new data, and 0 where
   * it was that of the view. EIO as `device`.
   */
  overwritten(offset: number, length: number, list: ExtentList): Errno {
    this.liveReads++;
    return this.old.overwritten(offset, length, list);
  }

  /**
   * The whole granules inside the range are needed no more: their scratch is freed, writers need not care for them, and
   * reading any byte of them is EIO.
   */
  async release(offset: number, length: number): Promise<Errno> {
    const { granules, ended } = this.old;
    if (ended) return EIO;
    const from = granules.endAt(offset);
    const toEnd = offset + length >= granules.sizeBytes;
    return this.old.release(from, toEnd ? granules.count : granules.indexAt(offset + length));
  }

  /** The view is EIO from now on, and writers need not care for it. */
  /** Breaks the view when old data was lost on its way from the page cache to the disk of the scratch. */
  checkScratch(): Promise<void> {
    return this.old.checkScratch();
  }

  end(): void {
    this.old.end();
  }

  /** Ends it, and closes scratch, which gives its space back. */
  close(): Promise<void> {
    this.closed ??= this.old.close();
    return this.closed;
  }
}
