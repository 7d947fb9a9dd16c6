import type { FileHandle } from 'node:fs/promises';
import { CodedError } from '../../base/coded-error.js';
import type { Log } from '../../base/log.js';
import { wholeSectors } from '../../base/units.js';
import { nodePosix } from '../../posix/node-posix.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { FileDevice } from '../file/file-device.js';
import { makeFileDevice } from '../file/make-file-device.js';
import { type DiskIdentity, identifyDisk } from './disk-identity.js';
import { factsOf, type ImageFacts } from './image-facts.js';
import { checkRaw } from './image-format.js';
import { lockImage } from './image-lock.js';
import { checkImageSize } from './image-size.js';
import { type ImageToOpen, openImage } from './open-image.js';

export interface FileDeviceOptions extends ImageToOpen {
  /** From `loadPosix`. If undefined, the image is served through Node's own calls, without locks and holes. */
  readonly posix: Posix | undefined;
  readonly log: Log;
  /** Looks up what is known about the opened disk. If undefined, the operator has declared the image to be raw. */
  readonly know?: ((disk: DiskIdentity) => KnownDisk) | undefined;
}

export interface KnownDisk {
  /** It was served as a raw image before. */
  readonly isRaw: boolean;
  /** How much of it is served. */
  readonly sizeBytes?: number;
}

/**
 * Opens a file or block device as a disk and locks it. @throws CodedError IMAGE_UNUSABLE or IMAGE_LOCKED, with a hint,
 * if it is missing, a folder, empty, not whole sectors, not permitted or in use
 */
export async function openDisk(options: FileDeviceOptions): Promise<FileDevice> {
  const handle = await openImage(options);
  try {
    return await deviceOver(handle, options);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function deviceOver(handle: FileHandle, options: FileDeviceOptions): Promise<FileDevice> {
  const { path, readOnly, log, know } = options;
  const posix = options.posix ?? nodePosix;
  const facts = await factsOf(handle, path);
  if (facts === undefined) {
    throw new CodedError('IMAGE_UNUSABLE', `the size of ${path} is unknown`, 'mount sysfs at /sys');
  }
  lockImage({ fd: handle.fd, path, readOnly, posix, log });
  const known = know?.(await identifyDisk({ handle, ...facts }));
  if (known && !known.isRaw) await checkRaw({ handle, path, sizeBytes: facts.sizeBytes });
  const sizeBytes = sizeToServe({ path, readOnly, facts, known });
  warnOfOtherSize(sizeBytes, options);
  const isFilledUp = facts.sizeBytes < sizeBytes;
  return makeFileDevice(handle, { ...facts, sizeBytes, ...(isFilledUp && { endsWithin: facts.sizeBytes }) }, options);
}

/** A disk has whole sectors. A read-only image is padded with zeroes. @throws CodedError IMAGE_UNUSABLE */
function sizeToServe({
  path,
  readOnly,
  facts,
  known,
}: {
  path: string;
  readOnly: boolean;
  facts: ImageFacts;
  known: KnownDisk | undefined;
}): number {
  const wholeBytes = readOnly ? wholeSectors(facts.sizeBytes) : facts.sizeBytes;
  checkImageSize(path, wholeBytes);
  return known?.sizeBytes ?? wholeBytes;
}

function warnOfOtherSize(sizeBytes: number, { path, createSizeBytes, log }: FileDeviceOptions): void {
  if (createSizeBytes === undefined || createSizeBytes === sizeBytes) return;
  log.warn(
    { image: path, sizeBytes, givenBytes: createSizeBytes },
    'the image already exists and keeps its size; size= only applies to new images',
  );
}
