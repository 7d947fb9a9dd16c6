import { type FileHandle, lstat, open, realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { diskId } from '../../base/disk-location.js';
import { errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { BlockDevice } from '../device/block-device.js';
import { fileSystemOf, inShare } from '../file/disk-threads.js';
import { openUnnamedFile, unnamedDevice } from './unnamed-file.js';

export interface CloneOptions {
  /** From `loadPosix`. Undefined: nothing can be cloned. */
  readonly posix: Posix | undefined;
  readonly log: Log;
}

export interface ImageToClone {
  readonly path: string;
  /** Of the disk that is served, as `diskId` tells. */
  readonly id: string;
  readonly sizeBytes: number;
}

/**
 * The image as it is now, as a read-only device: a file without a name beside it, which shares its blocks (FICLONE) and
 * goes when it is closed. To be called while nothing changes the image. Undefined, with the cause in the log, where
 * that cannot be had: on most file systems, of a block device, where no file may be made beside the image, or another file
 * has its name.
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
    log.debug({ image: imagePath, cause: (error as Error).message }, 'the image cannot be cloned here');
    return undefined;
  }
}

/** Of the image itself: only files of one file system share blocks, and a symbolic link may lie on another. */
async function folderOf(imagePath: string): Promise<string> {
  const isLink = (await lstat(imagePath)).isSymbolicLink();
  return dirname(isLink ? await realpath(imagePath) : imagePath);
}

async function cloneInto(clone: FileHandle, imagePath: string, id: string, posix: Posix): Promise<void> {
  const image = await open(imagePath, 'r');
  try {
    // The disk is what is open; its name may be another file's by now.
    if (diskId(await image.stat({ bigint: true })) !== id) throw new Error('another file has its name');
    const result = await posix.clone(clone.fd, image.fd);
    if (result < 0) throw new Error(`${errnoName(-result)}, FICLONE`);
  } finally {
    await image.close();
  }
}
