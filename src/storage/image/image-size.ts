import type { FileHandle } from 'node:fs/promises';
import { CodedError } from '../../base/coded-error.js';
import { errnoName, errnoOf } from '../../base/errno.js';
import { formatCount, formatSize, SECTOR_BYTES, wholeSectors } from '../../base/units.js';
import { factsOf } from './image-facts.js';

/** @throws CodedError IMAGE_UNUSABLE unless a disk can have that size */
export function checkImageSize(path: string, sizeBytes: number): void {
  if (sizeBytes === 0) {
    throw new CodedError('IMAGE_UNUSABLE', `the image ${path} is empty`, `give it a size: truncate -s SIZE ${path}`);
  }
  if (sizeBytes % SECTOR_BYTES !== 0) {
    const nextBytes = wholeSectors(sizeBytes);
    throw new CodedError(
      'IMAGE_UNUSABLE',
      `the size of the image ${path}, ${formatCount(sizeBytes, 'byte')}, is not a multiple of ${SECTOR_BYTES}`,
      `pad it with zeroes: truncate -s ${nextBytes} ${path}`,
    );
  }
}

export interface ImageResize {
  readonly handle: FileHandle;
  readonly path: string;
  readonly readOnly: boolean;
  readonly sizeBytes: number;
}

/** Grows a file to `sizeBytes` if it is shorter. @throws CodedError IMAGE_UNUSABLE if the image cannot be that large */
export async function growImage({ handle, path, readOnly, sizeBytes }: ImageResize): Promise<void> {
  if (sizeBytes === 0 || sizeBytes % SECTOR_BYTES !== 0) {
    const what = `invalid size ${formatCount(sizeBytes, 'byte')}: expected a positive multiple of ${SECTOR_BYTES}`;
    throw new CodedError('IMAGE_UNUSABLE', what, 'give another size; the disk keeps its current size');
  }
  const facts = await factsOf(handle, path);
  const presentBytes = facts?.sizeBytes ?? 0;
  if (presentBytes >= sizeBytes) return;
  if (readOnly || facts?.kind !== 'file') {
    throw new CodedError(
      'IMAGE_UNUSABLE',
      `the image ${path} has only ${presentBytes} of ${sizeBytes} bytes (${formatSize(sizeBytes)})`,
      facts?.kind === 'file' ? `grow the file first: truncate -s ${sizeBytes} ${path}` : 'grow the block device first',
    );
  }
  try {
    await handle.truncate(sizeBytes);
  } catch (error) {
    throw new CodedError(
      'IMAGE_UNUSABLE',
      `the image ${path} cannot grow to ${sizeBytes} bytes: ${errnoName(errnoOf(error))}`,
      'choose a smaller size, or a file system that supports files of that size',
      { cause: error },
    );
  }
}
