import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../posix/regular-files.js';
import { Qcow2Error } from './qcow2-error.js';

/** Opens the file of an image for reading. @throws Qcow2Error when it is not a regular file; system errors */
export async function openImageFile(path: string): Promise<FileHandle> {
  const file = await openRegularFile(path);
  if (!file) throw new Qcow2Error(path, 'it is not a regular file');
  return file;
}
