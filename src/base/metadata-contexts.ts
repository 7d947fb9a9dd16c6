/* The names of metadata contexts, as servers and clients of NBD write them. */

export const BASE_ALLOCATION = 'base:allocation';
/** In front of a bitmap's name. */
export const DIRTY_BITMAP_PREFIX = 'qemu:dirty-bitmap:';
export const OVERWRITTEN_CONTEXT = 'tidemark:overwritten';
