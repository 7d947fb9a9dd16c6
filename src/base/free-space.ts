import type { StatsFs } from 'node:fs';

/** Free bytes that any user can use, as in df(1); Infinity if the file system does not report it. */
export function freeBytes({ blocks, bavail, bsize }: StatsFs): number {
  // Blocks reserved for root do not count: a network file system may not treat this machine's root as root.
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}
