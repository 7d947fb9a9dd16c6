import { EIO, EOPNOTSUPP, type Errno, OK } from '../base/errno.js';
import type { ExtentList } from '../base/extents.js';
import {
  ALLOCATION_DEPTH,
  BASE_ALLOCATION,
  DIRTY_BITMAP_PREFIX,
  OVERWRITTEN_CONTEXT,
} from '../base/metadata-contexts.js';
import type { BitmapSet } from '../bitmap/bitmap-set.js';
import type { Freeze } from '../bitmap/bitmap-state.js';
import type { DirtyBitmap } from '../bitmap/dirty-bitmap.js';
import { DIRTY } from '../bitmap/dirty-bits.js';
import type { Snapshot } from '../snapshot/snapshot.js';
import type { BlockDevice } from '../storage/device/block-device.js';

export { ALLOCATION_HOLE } from '../storage/device/block-device.js';

/** A metadata context for block-status requests. */
export interface MetadataContext {
  /** The name on the wire: `base:allocation`, for example. */
  readonly name: string;

  /** The status of a block that contains both statuses; must be safe for all of the block. */
  combine(one: number, other: number): number;

  /**
   * Appends the status of the range to `list`. On OK there is at least one extent, and none reaches beyond the range.
   * Stops early when the list is full.
   */
  status(offset: number, length: number, list: ExtentList): Promise<Errno>;
}

/** A block that is partly dirty must be read. */
function either(one: number, other: number): number {
  return one | other;
}

/** A block that holds some data is not a hole and does not read as zeroes. */
function both(one: number, other: number): number {
  return one & other;
}

/** How the context of this name combines statuses. */
export function combinerOf(name: string): MetadataContext['combine'] {
  return name === BASE_ALLOCATION ? both : either;
}

/** `base:allocation`: the holes and zeroes that the device reports. */
class AllocationContext implements MetadataContext {
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

/** The status of `qemu:allocation-depth` for data in the first layer. 0 would be no layer, and 2 the one behind the first. */
const FIRST_LAYER = 1;

/** `qemu:allocation-depth`: a disk has one layer, in which even its holes count as allocated, as in QEMU's raw images. */
class AllocationDepthContext implements MetadataContext {
  readonly name = ALLOCATION_DEPTH;
  readonly combine = either;

  async status(_offset: number, length: number, list: ExtentList): Promise<Errno> {
    list.add(length, FIRST_LAYER);
    return OK;
  }
}

/** The contexts that every disk has. */
export function diskContexts(device: BlockDevice): MetadataContext[] {
  return [new AllocationContext(device), new AllocationDepthContext()];
}

/**
 * `qemu:dirty-bitmap:NAME`: what was written since the bitmap's base. It is bound to one bitmap, not to a name. Once
 * that bitmap is removed or inconsistent, the answer is an error, because "clean" would make a backup miss a change.
 */
export class DirtyBitmapContext implements MetadataContext {
  readonly name: string;
  readonly combine = either;

  constructor(
    private readonly bitmaps: BitmapSet,
    private readonly bitmap: DirtyBitmap,
  ) {
    this.name = DIRTY_BITMAP_PREFIX + bitmap.name;
  }

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    if (!this.bitmaps.has(this.bitmap) || this.bitmap.inconsistent !== undefined) return EIO;
    this.bitmap.extents(offset, length, list);
    return OK;
  }
}

/** A bitmap as a backup froze it, for the view of that backup: what was written before the cut. */
export class FrozenBitmapContext implements MetadataContext {
  readonly name: string;
  readonly combine = either;

  constructor(
    bitmap: string,
    private readonly freeze: Freeze,
  ) {
    this.name = DIRTY_BITMAP_PREFIX + bitmap;
  }

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    // The freeze ends with the backup, or when the bitmap becomes inconsistent.
    if (!this.freeze.active) return EIO;
    this.freeze.extents(offset, length, list);
    return OK;
  }
}

/** Reports everything as dirty, because a backup without a base must read everything. */
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
 * `tidemark:overwritten`: where the live disk may no longer have the data of the view. A client that can read the disk
 * directly reads it first and asks afterwards: a range that is not overwritten then had the data of the view when it
 * was read.
 */
export class OverwrittenContext implements MetadataContext {
  readonly name = OVERWRITTEN_CONTEXT;
  readonly combine = either;

  constructor(private readonly snapshot: Snapshot) {}

  async status(offset: number, length: number, list: ExtentList): Promise<Errno> {
    return this.snapshot.overwritten(offset, length, list);
  }
}
