import { constants as fsConstants, type Stats } from 'node:fs';
import { access, type FileHandle, open, stat } from 'node:fs/promises';
import { constants } from 'node:os';
import { dirname } from 'node:path';
import { CodedError } from '../../base/coded-error.js';
import { EPERM, EROFS, type Errno, errnoName, errnoOf } from '../../base/errno.js';
import { createImage } from './create-image.js';
import type { ImageGuard } from './image-guard.js';

const { EACCES, EBUSY, ENOENT } = constants.errno;

export interface ImageToOpen {
  readonly path: string;
  readonly readOnly: boolean;
  /** Create a missing file, sparse and of this size. An existing image keeps its size. */
  readonly createSizeBytes?: number | undefined;
  /** If undefined, the image may be anywhere. */
  readonly guard?: ImageGuard | undefined;
}

/** Opens a regular file or block device. @throws CodedError IMAGE_UNUSABLE, IMAGE_LOCKED, or the guard's error */
export async function openImage(image: ImageToOpen): Promise<FileHandle> {
  image.guard?.admitPath();
  const handle = await openAnywhere(image);
  try {
    await image.guard?.admitFile(handle);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Checks without opening it that an image can be opened, or created in its folder. @throws CodedError IMAGE_UNUSABLE */
export async function checkImage(image: Omit<ImageToOpen, 'guard'>): Promise<void> {
  const { path, readOnly } = image;
  const stats = await stat(path).catch((error: unknown) => {
    if (mayCreate(image, error)) return undefined;
    throw openError(image, error);
  });
  if (!stats) return await checkFolder(path);
  if (!stats.isFile() && !stats.isBlockDevice()) throw unservable(path, stats);
  const { R_OK, W_OK } = fsConstants;
  await access(path, readOnly ? R_OK : R_OK | W_OK).catch((error: unknown) => {
    throw openError(image, error);
  });
}

async function checkFolder(path: string): Promise<void> {
  await access(dirname(path), fsConstants.W_OK).catch((cause: unknown) => {
    const what = `cannot create the image ${path}: ${errnoName(errnoOf(cause))}`;
    throw new CodedError('IMAGE_UNUSABLE', what, 'check its folder', { cause });
  });
}

async function openAnywhere(image: ImageToOpen): Promise<FileHandle> {
  const stats = await statOrCreate(image);
  if (!stats.isFile() && !stats.isBlockDevice()) throw unservable(image.path, stats);
  try {
    return await open(image.path, openFlags(image.readOnly, stats));
  } catch (error) {
    throw openError(image, error);
  }
}

async function statOrCreate(image: ImageToOpen): Promise<Stats> {
  try {
    return await stat(image.path);
  } catch (error) {
    if (!mayCreate(image, error)) throw openError(image, error);
    await createImage(image.path, image.createSizeBytes, image.guard);
    return await stat(image.path);
  }
}

function mayCreate<Image extends ImageToOpen>(
  image: Image,
  error: unknown,
): image is Image & { readonly createSizeBytes: number } {
  return errnoOf(error) === ENOENT && image.createSizeBytes !== undefined && !image.readOnly;
}

/** With O_EXCL, the kernel refuses a block device that is mounted or part of a volume, and claims it for us. */
function openFlags(readOnly: boolean, stats: Stats): number {
  if (readOnly) return fsConstants.O_RDONLY;
  return stats.isBlockDevice() ? fsConstants.O_RDWR | fsConstants.O_EXCL : fsConstants.O_RDWR;
}

function unservable(path: string, stats: Stats): CodedError {
  const what = stats.isDirectory() ? 'a folder' : 'neither a file nor a block device';
  return new CodedError('IMAGE_UNUSABLE', `${path} is ${what}`, 'name a raw disk image or a block device');
}

function openError(image: ImageToOpen, error: unknown): CodedError {
  const errno = errnoOf(error);
  if (errno === EBUSY) {
    const hint = 'unmount it, remove it from its volume, or stop the server that has it open';
    return new CodedError('IMAGE_LOCKED', `the block device ${image.path} is in use`, hint, { cause: error });
  }
  const reason = errnoName(errno);
  const message =
    errno === ENOENT ? `there is no image ${image.path}` : `cannot open the image ${image.path}: ${reason}`;
  return new CodedError('IMAGE_UNUSABLE', message, openHint(image, errno), { cause: error });
}

function openHint({ path, readOnly }: ImageToOpen, errno: Errno): string {
  if (errno === ENOENT) return readOnly ? 'check the path' : 'check the path, or add size=SIZE to create it';
  if (errno === EROFS) return 'its file system is read-only: serve it readonly';
  if (errno === EACCES || errno === EPERM) {
    const needed = readOnly ? 'read' : 'read and write';
    return `let user id ${process.geteuid?.()} ${needed} ${path}${readOnly ? '' : ', or serve it readonly'}`;
  }
  return 'check the path and its storage';
}
