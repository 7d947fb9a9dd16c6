import type { BigIntStats } from 'node:fs';

/**
 * Device and inode of a file, or the number of a block device. Text, because they may exceed 2^53. No other disk gets
 * this number while somebody has the disk open.
 */
export function diskId(stats: BigIntStats): string {
  return stats.isBlockDevice() ? `${stats.rdev}` : `${stats.dev}:${stats.ino}`;
}
