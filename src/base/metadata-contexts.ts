/* The names of NBD metadata contexts. */

export const BASE_ALLOCATION = 'base:allocation';
/** How far down the layers of a disk its data lies, as in QEMU. */
export const ALLOCATION_DEPTH = 'qemu:allocation-depth';
/** A bitmap's name follows. */
export const DIRTY_BITMAP_PREFIX = 'qemu:dirty-bitmap:';
export const OVERWRITTEN_CONTEXT = 'tidemark:overwritten';
