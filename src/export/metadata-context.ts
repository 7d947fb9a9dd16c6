import { EIO, EOPNOTSUPP, type Errno, OK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import { BASE_ALLOCATION, DIRTY_BITMAP_PREFIX, OVERWRITTEN_CONTEXT } from '../base/metadata-contexts.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import { DIRTY } from '../bitmap/dirty-extents.js';
import type { Snapshot } from '../snapshot/snapshot.js';
import type { BlockDevice } from '../storage/device/block-device.js';

/** What a block-status request reports on, by its name on the wire. */
export interface MetadataContext {
  /** `base:allocation`, `qemu:dirty-bitmap:NAME`, `tidemark:overwritten`. */
  readonly name: string;

  /** The status of a block of the disk that has both: that which is safe for all of it. */
  combine(one: number, other: number): number;

  /**
   * Appends the status of the range to `list`: at least one extent when it answers OK, no more than the range. It may
   * stop early, where the list is full.
   */
  status(offset: number, length: number, list: ExtentList): Promise<Errno>;
}

/** What is dirty in part has to be read. */
function either(one: number, other: number): number {
  return one | other;
}

/** What has data in part is no hole, and does not read as zeroes. */
function both(one: number, other: number): number {
  return one & other;
}

/** `base:allocation`: holes and zeroes as the device knows them. */
export class AllocationContext implements MetadataContext {
  readonly name = BASE_ALLOCATION;
  readonly combine = both;

  constructor(private readonly device: BlockDevice) {}

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    const errno = await this.device.extents(offset, length, list);
    if (errno !== EOPNOTSUPP) return errno;
    list.add(length, 0);
    return OK;
  }
}

/**
 * `qemu:dirty-bitmap:NAME`: what was written since the bitmap's base. Bound to one bitmap, not to a name: once that
 * bitmap is removed or inconsistent the answer is an error, for "clean" would make a backup miss a change.
 */
export class DirtyBitmapContext implements MetadataContext {
  readonly name: string;
  readonly combine = either;

  constructor(private readonly bitmap: DirtyBitmap) {
    this.name = DIRTY_BITMAP_PREFIX + bitmap.name;
  }

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    if (this.bitmap.removed || this.bitmap.inconsistent !== undefined) return EIO;
    this.bitmap.extents(offset, length, list);
    return OK;
  }
}

/** The same of a bitmap that is frozen, for the view of the backup that froze it: what was written before the cut. */
export class FrozenBitmapContext implements MetadataContext {
  readonly name: string;
  readonly combine = either;

  constructor(private readonly bitmap: DirtyBitmap) {
    this.name = DIRTY_BITMAP_PREFIX + bitmap.name;
  }

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    // No longer frozen: the backup has ended, or the bitmap is inconsistent.
    if (!this.bitmap.busy) return EIO;
    this.bitmap.frozenExtents(offset, length, list);
    return OK;
  }
}

/** Calls everything dirty: whoever has no base needs all of it. */
export class FullContext implements MetadataContext {
  readonly name: string;
  readonly combine = either;

  constructor(bitmap: string) {
    this.name = DIRTY_BITMAP_PREFIX + bitmap;
  }

  async status(_offset: number, length: number, list: ExtentList): Promise<Errno> {
    list.add(length, DIRTY);
    return OK;
  }
}

/**
 * `tidemark:overwritten`: where the live disk may have other data than the view by now. Whoever can read the disk itself
 * reads there first and asks then: what is not overwritten was the data of the view when it was read.
 */
export class OverwrittenContext implements MetadataContext {
  readonly name = OVERWRITTEN_CONTEXT;
  readonly combine = either;

  constructor(private readonly snapshot: Snapshot) {}

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    return this.snapshot.overwritten(offset, length, list);
  }
}
