import { EIO, type Errno } from '../base/errno.js';
import type { BlockDevice } from '../storage/block-device.js';

/** What happens when old data finds no room: the snapshot breaks, or the write that needs the room fails. */
export type OnScratchFull = 'fail-view' | 'fail-writer';

export interface SnapshotOptions {
  /** The live disk, below the filter. */
  readonly source: BlockDevice;
  readonly sizeBytes: number;
  readonly granuleBytes: number;
  /** Takes the old data; of the same size, sparse, and reads as zeroes. */
  readonly scratch: BlockDevice;
  /** Bytes of old data that scratch may hold; Infinity for no limit. */
  readonly limitBytes: number;
  readonly onScratchFull: OnScratchFull;
  /** Called once, when the view broke: with ENOSPC for the limit, else what scratch or the disk answered. */
  readonly onFailure: (errno: Errno) => void;
}

export class Snapshot {
  /** The content at the time of attaching, read-only. */
  readonly device: BlockDevice;
  readonly limitBytes: number;

  constructor(options: SnapshotOptions) {
    this.device = options.source;
    this.limitBytes = options.limitBytes;
  }

  /** Bytes of old data in scratch. */
  get usedBytes(): number {
    return 0;
  }

  /** How many reads of the view there were. */
  get reads(): number {
    return 0;
  }

  /** The range is needed no more, as far as it holds whole granules: its scratch is freed, and reading it is EIO. */
  async release(_offset: number, _length: number): Promise<Errno> {
    return EIO;
  }

  /** Closes scratch; reads of the view answer EIO from then on. */
  async close(): Promise<void> {}
}
