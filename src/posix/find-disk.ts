import { constants } from 'node:fs';
import { type FileHandle, open, readFile } from 'node:fs/promises';
import type { DiskLocation } from '../api/backup.js';
import { diskId } from '../base/disk-id.js';

let bootId: Promise<string | undefined> | undefined;

/** Stays the same as long as this process runs. Undefined if the kernel does not provide one. */
export function readBootId(): Promise<string | undefined> {
  bootId ??= readFile('/proc/sys/kernel/random/boot_id', 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
  return bootId;
}

/** Opens the disk for reading; undefined if it is missing, is a different disk, or may not be read by us. */
export async function openDiskAt({ path, id, bootId }: DiskLocation): Promise<FileHandle | undefined> {
  if ((await readBootId()) !== bootId) return undefined;
  // Without O_NONBLOCK, opening a pipe in its place would wait for a writer.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => undefined);
  if (!file) return undefined;
  const stats = await file.stat({ bigint: true }).catch(() => undefined);
  if (stats && diskId(stats) === id) return file;
  await file.close();
  return undefined;
}
