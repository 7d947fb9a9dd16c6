/** Every image has clusters of 64 KiB. */
export const CLUSTER_BITS = 16;
export const CLUSTER_BYTES = 2 ** CLUSTER_BITS;
