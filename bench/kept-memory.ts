import { open } from 'node:fs/promises';
import { KIB, MIB } from '../src/base/units.js';
import { loadPosix } from '../src/posix/posix.js';
import { PUNCH_HOLE } from '../src/posix/posix-calls.js';

/** A virtual machine gives free memory back in blocks of 2 MiB; no such block is free while a page in each of these is not. */
const STRIDE_BYTES = 256 * KIB;
const PAGE_BYTES = 4 * KIB;

/**
 * Has so much free memory at hand while the file at `path`, on tmpfs, is there. A virtual machine that has given its free
 * memory back waits for its host to get it again, for longer than it takes to copy a disk; and whoever is measured
 * first would pay for the next. So the file takes the memory and gives it back but for one page here and there.
 */
export async function keepMemory(path: string, sizeBytes: number): Promise<void> {
  const posix = loadPosix();
  if (!posix) throw new Error('the system calls of this machine cannot be called');
  const file = await open(path, 'wx');
  try {
    const piece = Buffer.alloc(MIB);
    for (let offset = 0; offset < sizeBytes; offset += MIB) await file.write(piece, 0, MIB, offset);
    for (let offset = 0; offset < sizeBytes; offset += STRIDE_BYTES) {
      await posix.fallocate(file.fd, PUNCH_HOLE, offset + PAGE_BYTES, STRIDE_BYTES - PAGE_BYTES);
    }
  } finally {
    await file.close();
  }
}
