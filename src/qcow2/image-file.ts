import type { FileHandle } from 'node:fs/promises';
import { openRegularFile } from '../posix/regular-files.js';

/** An image is damaged, unfinished, or was not made by tidemark. */
export class Qcow2Error extends Error {
  override readonly name = 'Qcow2Error';

  constructor(
    readonly path: string,
    /** What is wrong, as it reads after the name of the file. */
    readonly problem: string,
  ) {
    super(`${path}: ${problem}`);
  }
}

/** A read of the image at `path` failed with `error`. */
export function unreadable(path: string, { message }: Error): Qcow2Error {
  return new Qcow2Error(path, `it cannot be read: ${message}`);
}

/** Opens the file of an image for reading. @throws Qcow2Error when it is not a regular file; system errors */
export async function openImageFile(path: string): Promise<FileHandle> {
  const file = await openRegularFile(path);
  if (!file) throw new Qcow2Error(path, 'it is not a regular file');
  return file;
}

/** Reads exactly `length` bytes of the image at `path`. @throws Qcow2Error when it is too short; system errors */
export async function readFully(
  file: FileHandle,
  offset: number,
  length: number,
  path: string,
  into: Buffer = Buffer.allocUnsafeSlow(length),
): Promise<Buffer> {
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(into, done, length - done, offset + done);
    if (bytesRead === 0) throw new Qcow2Error(path, 'it ends too early');
    done += bytesRead;
  }
  return into.subarray(0, length);
}
