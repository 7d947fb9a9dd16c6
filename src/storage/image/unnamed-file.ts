import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { assert } from '../../base/assert.js';
import type { FileDevice } from '../file/file-device.js';
import { type MakeFileDeviceOptions, makeFileDevice } from '../file/make-file-device.js';
import { factsOf } from './image-facts.js';

/** Node has no constant for it. With O_EXCL, the file can never get a name. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

const FILE_MODE = 0o600;

/**
 * Creates an empty, unnamed file. Nothing is left of it when it is closed or the process is killed.
 * @throws the error of the file system
 */
export async function openUnnamedFile(folder: string): Promise<FileHandle> {
  try {
    return await open(folder, O_TMPFILE | constants.O_EXCL | constants.O_RDWR, FILE_MODE);
  } catch {
    // Not every file system supports O_TMPFILE. If there is another problem, this attempt runs into it too.
    const path = join(folder, `.tidemark-${randomUUID()}`);
    const handle = await open(path, 'wx+', FILE_MODE);
    await unlink(path);
    return handle;
  }
}

export interface UnnamedDeviceOptions extends Omit<MakeFileDeviceOptions, 'path'> {
  readonly folder: string;
  readonly sizeBytes: number;
}

/** Serves the first `sizeBytes` of a file from `openUnnamedFile` in `folder`. The device owns the handle then. */
export async function unnamedDevice(handle: FileHandle, options: UnnamedDeviceOptions): Promise<FileDevice> {
  const { folder, sizeBytes, ...others } = options;
  const facts = await factsOf(handle, folder);
  assert(facts !== undefined && facts.sizeBytes >= sizeBytes, 'an unnamed file is as long as its disk');
  return makeFileDevice(handle, { ...facts, sizeBytes }, { ...others, path: `${folder} (an unnamed file)` });
}
