import { type BigIntStats, constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';

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

/** Undefined where the kernel does not say. */
export function readBootId(): Promise<string | undefined> {
  return readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}

/** Opens the disk for reading; undefined when it is not here, is another one, or is not for us to read. */
export async function openDiskAt({ path, id, bootId }: DiskLocation): Promise<FileHandle | undefined> {
  if ((await readBootId()) !== bootId) return undefined;
  // A pipe in its place would keep us waiting for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  if (!file) return undefined;
  const stats = await file.stat({ bigint: true }).catch(() => undefined);
  if (stats && diskId(stats) === id) return file;
  await file.close();
  return undefined;
}
