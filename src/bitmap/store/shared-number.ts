import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Posix } from '../../posix/posix-calls.js';
import { openRegularFile } from '../../posix/regular-files.js';

/** In memory, where a store never waits for a disk; it lasts until the machine is shut down. */
const FOLDER = '/dev/shm';
/** One for the owner of the disk, and one for each of the threads that may write besides. */
const PARTS = 256;
const PARTS_BYTES = PARTS * Float64Array.BYTES_PER_ELEMENT;
/** The parts, then as many numbers that nobody needs afterwards. */
const FILE_BYTES = 2 * PARTS_BYTES;
/** Nobody can guess the name, and so create the file before us. */
const RANDOM_BYTES = 16;

/**
 * A number that outlives the process, even one that is killed, but not the boot of the machine. It is the sum of parts,
 * so that several threads can change it, each its own part, at the same time.
 */
export interface SharedNumber {
  readonly path: string;
  readonly parts: Float64Array;
  /** For each thread a number that others see, too. It is not part of the sum. */
  readonly besides: Float64Array;
  /** Deletes the number, or lets go of it in a thread that did not make it. Nothing may use its memory afterwards. */
  readonly release: () => void;
}

/** Undefined if this machine offers no such memory, or none is free. */
export function makeSharedNumber(posix: Posix): SharedNumber | undefined {
  const path = join(FOLDER, `tidemark-${randomBytes(RANDOM_BYTES).toString('hex')}`);
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    // Without memory behind it, a store to the mapping would end the process.
    const isWhole = writeSync(fd, Buffer.alloc(FILE_BYTES)) === FILE_BYTES;
    const made = isWhole ? mapNumber(posix, fd, path) : undefined;
    if (!made) throw new Error('there is no shared memory');
    const release = () => {
      made.release();
      removeSharedNumber(path);
    };
    return { ...made, release };
  } catch {
    if (fd !== undefined) removeSharedNumber(path);
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The number that another thread of this process has made; undefined if it cannot be shared. */
export function openSharedNumber(posix: Posix, path: string): SharedNumber | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_NOFOLLOW);
    return fstatSync(fd).size === FILE_BYTES ? mapNumber(posix, fd, path) : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function mapNumber(posix: Posix, fd: number, path: string): SharedNumber | undefined {
  const mapping = posix.mapSharedNow(fd, FILE_BYTES);
  if (!mapping) return undefined;
  const { memory, unmap } = mapping;
  const parts = new Float64Array(memory, 0, PARTS);
  return { path, parts, besides: new Float64Array(memory, PARTS_BYTES, PARTS), release: unmap };
}

/** The number that an earlier process left; undefined if it is gone. */
export async function readSharedNumber(path: string): Promise<number | undefined> {
  try {
    await using file = await openRegularFile(path);
    if (!file) return undefined;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(PARTS_BYTES), 0, PARTS_BYTES, 0);
    // Before there were parts, the file had one number.
    if (bytesRead !== PARTS_BYTES && bytesRead !== Float64Array.BYTES_PER_ELEMENT) return undefined;
    return new Float64Array(buffer.buffer, buffer.byteOffset, bytesRead / 8).reduce((sum, part) => sum + part, 0);
  } catch {
    return undefined;
  }
}

export function removeSharedNumber(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // It stays until the machine is shut down, and does no harm.
  }
}
