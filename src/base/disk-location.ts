import type { BigIntStats } from 'node:fs';

/** Where another program on the same machine finds a disk, and by what it knows that it has found this one. */
export interface DiskLocation {
  readonly path: string;
  /** As `diskId` tells. Nothing else gets this number while the server has the disk open. */
  readonly id: string;
  /** Of the kernel that gave the numbers in `id`, from random(4): another machine, and another boot, has another. */
  readonly bootId: string;
}

/** Device and inode of a file, or the number of a block device. As text, for they may exceed 2^53. */
export function diskId(stats: BigIntStats): string {
  return stats.isBlockDevice() ? `${stats.rdev}` : `${stats.dev}:${stats.ino}`;
}
