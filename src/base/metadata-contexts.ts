/* The names of NBD metadata contexts. */

export const BASE_ALLOCATION = 'base:allocation';
/** A bitmap's name follows. */
export const DIRTY_BITMAP_PREFIX = 'qemu:dirty-bitmap:';
export const OVERWRITTEN_CONTEXT = 'tidemark:overwritten';
