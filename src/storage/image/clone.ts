import { type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diskId } from '../../base/disk-id.js';
import { errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { BlockDevice } from '../device/block-device.js';
import { fileSystemOf, inShare } from '../file/disk-threads.js';
import { openUnnamedFile, unnamedDevice } from './unnamed-file.js';

export interface CloneOptions {
  /** From `loadPosix`. If undefined, nothing can be cloned. */
  readonly posix: Posix | undefined;
  readonly log: Log;
}

export interface ImageToClone {
  readonly path: string;
  /** The `diskId` of the disk that is served. */
  readonly id: string;
  readonly sizeBytes: number;
}

/**
 * Clones the image into a read-only device: an unnamed file in the same folder that shares the image's blocks (FICLONE)
 * and disappears when it is closed. Call this while nothing changes the image. Returns undefined and logs the cause if
 * that is impossible: on most file systems, for a block device, if no file can be created in the folder, or if another
 * file has taken the image's name.
 */
export async function cloneImage(image: ImageToClone, { posix, log }: CloneOptions): Promise<BlockDevice | undefined> {
  if (posix === undefined) return undefined;
  const [device = ''] = image.id.split(':');
  return inShare(posix, fileSystemOf(device)).share.pass(() => cloneNow(image, posix, log));
}

async function cloneNow(
  { path: imagePath, id, sizeBytes }: ImageToClone,
  posix: Posix,
  log: Log,
): Promise<BlockDevice | undefined> {
  let clone: FileHandle | undefined;
  try {
    const folder = await folderOf(imagePath);
    clone = await openUnnamedFile(folder);
    await cloneInto(clone, imagePath, id, posix);
    return await unnamedDevice(clone, { folder, sizeBytes, readOnly: true, posix, log });
  } catch (error) {
    await clone?.close();
    log.debug({ image: imagePath, cause: (error as Error).message }, 'the image cannot be cloned');
    return undefined;
  }
}

/** The folder of the image itself: a symbolic link to it may be on another file system, which cannot share blocks. */
async function folderOf(imagePath: string): Promise<string> {
  const isLink = (await lstat(imagePath)).isSymbolicLink();
  return dirname(isLink ? await realpath(imagePath) : imagePath);
}

async function cloneInto(clone: FileHandle, imagePath: string, id: string, posix: Posix): Promise<void> {
  const image = await open(imagePath, 'r');
  try {
    // The disk is the open file. Its name may refer to another file by now.
    if (diskId(await image.stat({ bigint: true })) !== id) throw new Error('another file has taken its name');
    const result = await posix.clone(clone.fd, image.fd);
    if (result < 0) throw new Error(`FICLONE: ${errnoName(-result)}`);
  } finally {
    await image.close();
  }
}
