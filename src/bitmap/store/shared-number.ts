import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Posix } from '../../posix/posix-calls.js';
import { openRegularFile } from '../../posix/regular-files.js';

/** In memory, where a store never waits for a disk; it lasts until the machine is shut down. */
const FOLDER = '/dev/shm';
const NUMBER_BYTES = Float64Array.BYTES_PER_ELEMENT;
/** Nobody can guess the name, and so create the file before us. */
const RANDOM_BYTES = 16;

/** A number that outlives the process, even one that is killed, but not the boot of the machine. */
export interface SharedNumber {
  readonly path: string;
  /** The number is the only element. */
  readonly cell: Float64Array;
  /** Deletes the number. Nothing may use `cell` afterwards. */
  readonly release: () => void;
}

/** Undefined if this machine offers no such memory, or none is free. */
export function makeSharedNumber(posix: Posix): SharedNumber | undefined {
  const path = join(FOLDER, `tidemark-${randomBytes(RANDOM_BYTES).toString('hex')}`);
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    // Without memory behind it, a store to the mapping would end the process.
    const isWhole = writeSync(fd, Buffer.alloc(NUMBER_BYTES)) === NUMBER_BYTES;
    const mapping = isWhole ? posix.mapSharedNow(fd, NUMBER_BYTES) : undefined;
    if (!mapping) throw new Error('there is no shared memory');
    const release = () => {
      mapping.unmap();
      removeSharedNumber(path);
    };
    return { path, cell: new Float64Array(mapping.memory, 0, 1), release };
  } catch {
    if (fd !== undefined) removeSharedNumber(path);
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The number that an earlier process left; undefined if it is gone. */
export async function readSharedNumber(path: string): Promise<number | undefined> {
  try {
    await using file = await openRegularFile(path);
    if (!file) return undefined;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(NUMBER_BYTES), 0, NUMBER_BYTES, 0);
    return bytesRead === NUMBER_BYTES ? buffer.readDoubleLE() : undefined;
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
