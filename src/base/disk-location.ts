import type { BigIntStats } from 'node:fs';

/** How another program on the same machine finds a disk and checks that it found the right one. */
export interface DiskLocation {
  readonly path: string;
  /** From `diskId`. No other disk gets this number while the server has the disk open. */
  readonly id: string;
  /** The kernel's boot ID, from random(4). The numbers in `id` mean nothing on another machine or after a reboot. */
  readonly bootId: string;
}

/** Device and inode of a file, or the number of a block device. Text, because they may exceed 2^53. */
export function diskId(stats: BigIntStats): string {
  return stats.isBlockDevice() ? `${stats.rdev}` : `${stats.dev}:${stats.ino}`;
}
