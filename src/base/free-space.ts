import type { StatsFs } from 'node:fs';

/** Bytes that are free to everybody, as df(1) tells them; Infinity where the file system does not say. */
export function freeBytes({ blocks, bavail, bsize }: StatsFs): number {
  // Blocks kept for root are not counted: who is root on the machine may be nobody to its file system.
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}
