import type { FileHandle } from 'node:fs/promises';
import { MIB } from '../base/units.js';
import { ImageChecksum } from '../qcow2/checksum.js';
import { openImageFile, readFully } from '../qcow2/image-file.js';
import type { ImagePart } from './image-orders.js';
import { ImageThreads, ORDER_BYTES, WORTH_THREADS_BYTES } from './image-threads.js';

const READ_BYTES = MIB;

/** An image that is open for reading. */
interface OpenImage {
  readonly path: string;
  readonly file: FileHandle;
}

/** A part of a file, in bytes. `position` is a multiple of the cluster size. */
export type FilePart = Pick<ImagePart, 'position' | 'length'>;

/** Reads a whole image. Resolves to its checksum. @throws Qcow2Error, system errors */
export async function readChecksum(
  path: string,
  fileBytes: number,
  signal: AbortSignal,
  worthThreadsBytes = WORTH_THREADS_BYTES,
): Promise<string> {
  const file = await openImageFile(path);
  try {
    const checksum = new ImageChecksum();
    const whole = [{ position: 0, length: fileBytes }];
    if (fileBytes < worthThreadsBytes) {
      await addParts(checksum, { path, file }, whole, signal);
    } else {
      await using threads = new ImageThreads(signal);
      await addPartsInThreads(checksum, { path, file }, whole, threads);
    }
    return checksum.finish();
  } finally {
    await file.close();
  }
}

/** Reads parts of an image, and adds them to its checksum. @throws Qcow2Error, system errors */
export async function addParts(
  checksum: ImageChecksum,
  { path, file }: OpenImage,
  parts: Iterable<FilePart>,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
  for (const { position, length } of parts) {
    for (let at = 0; at < length; at += READ_BYTES) {
      signal.throwIfAborted();
      const data = await readFully(file, position + at, Math.min(READ_BYTES, length - at), path, buffer);
      checksum.add(data, position + at);
    }
  }
}

/** The same, for threads. */
export async function addPartsInThreads(
  checksum: ImageChecksum,
  { path, file }: OpenImage,
  parts: Iterable<FilePart>,
  threads: ImageThreads,
): Promise<void> {
  const sums: Promise<bigint>[] = [];
  for (const order of ordersOf(parts)) {
    const sum = threads.sum(order.map((part) => ({ ...part, path, fd: file.fd })));
    // A failure is thrown when its turn comes.
    sum.catch(() => {});
    sums.push(sum);
    if (sums.length > threads.maxInFlight) checksum.addHash(await sums.shift()!);
  }
  for (const sum of sums) checksum.addHash(await sum);
}

/** Divides parts into orders of the usual size. */
function* ordersOf(parts: Iterable<FilePart>): Generator<FilePart[]> {
  let order: FilePart[] = [];
  let orderBytes = 0;
  for (const { position, length } of parts) {
    for (let at = 0; at < length; ) {
      const bytes = Math.min(ORDER_BYTES - orderBytes, length - at);
      order.push({ position: position + at, length: bytes });
      at += bytes;
      orderBytes += bytes;
      if (orderBytes < ORDER_BYTES) continue;
      yield order;
      order = [];
      orderBytes = 0;
    }
  }
  if (order.length > 0) yield order;
}
