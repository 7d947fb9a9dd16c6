import { statfsSync } from 'node:fs';
import { KIB } from '../../base/units.js';

/** What a store needs to be opened and closed, with some to spare. */
export const LEAST_FREE_BYTES = 256 * KIB;

/** Bytes free on the file system of a directory; Infinity where that is not told. */
export function freeBytes(directory: string): number {
  const { blocks, bfree, bsize } = statfsSync(directory);
  return blocks === 0 ? Number.POSITIVE_INFINITY : bfree * bsize;
}
