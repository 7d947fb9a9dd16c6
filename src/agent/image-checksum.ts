import { MIB } from '../base/units.js';
import { ImageChecksum } from '../qcow2/checksum.js';
import { openImageFile, readFully } from '../qcow2/image-file.js';
import type { ImagePart } from './image-orders.js';
import { ImageThreads, ORDER_BYTES, WORTH_THREADS_BYTES } from './image-threads.js';

const READ_BYTES = MIB;

/** Reads a whole image. Resolves to its checksum. @throws Qcow2Error, system errors */
export async function readChecksum(
  path: string,
  fileBytes: number,
  signal: AbortSignal,
  worthThreadsBytes = WORTH_THREADS_BYTES,
): Promise<string> {
  const file = await openImageFile(path);
  try {
    const whole = { path, fd: file.fd, position: 0, length: fileBytes };
    if (fileBytes >= worthThreadsBytes) return await sumInThreads(whole, signal);
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const checksum = new ImageChecksum();
    for (let position = 0; position < fileBytes; position += READ_BYTES) {
      signal.throwIfAborted();
      const length = Math.min(READ_BYTES, fileBytes - position);
      checksum.add(await readFully(file, position, length, path, buffer), position);
    }
    return checksum.finish();
  } finally {
    await file.close();
  }
}

async function sumInThreads(whole: ImagePart, signal: AbortSignal): Promise<string> {
  await using threads = new ImageThreads(signal);
  const checksum = new ImageChecksum();
  const sums: Promise<bigint>[] = [];
  for (let position = 0; position < whole.length; position += ORDER_BYTES) {
    const sum = threads.sum({ ...whole, position, length: Math.min(ORDER_BYTES, whole.length - position) });
    // A failure is thrown when its turn comes.
    sum.catch(() => {});
    sums.push(sum);
    if (sums.length > threads.maxInFlight) checksum.addHash(await sums.shift()!);
  }
  for (const sum of sums) checksum.addHash(await sum);
  return checksum.finish();
}
