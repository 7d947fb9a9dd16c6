import type { FileHandle } from 'node:fs/promises';
import { Qcow2Error } from './qcow2-error.js';

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
