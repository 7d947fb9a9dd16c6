import type { FileHandle } from 'node:fs/promises';

/** Writes all of the buffers, one after the other. Rejects with the system's error. */
export async function writeFully(file: FileHandle, buffers: readonly Buffer[], position: number): Promise<void> {
  const total = buffers.reduce((sum, { length }) => sum + length, 0);
  const { bytesWritten } = await file.writev(buffers, position);
  if (bytesWritten === total) return;
  // A disk that is nearly full accepts only a part. Writing the rest reports the error.
  const rest = Buffer.concat(buffers).subarray(bytesWritten);
  for (let done = 0; done < rest.length; ) {
    const more = await file.write(rest, done, rest.length - done, position + bytesWritten + done);
    done += more.bytesWritten;
  }
}
