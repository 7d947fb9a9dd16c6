import { open } from 'node:fs/promises';
import { KIB, MIB } from '../src/base/units.js';
import { loadPosix } from '../src/posix/posix.js';
import { PUNCH_HOLE } from '../src/posix/posix-calls.js';

/** A virtual machine returns free memory to its host in blocks of 2 MiB. A block with one page in use is not free. */
const STRIDE_BYTES = 256 * KIB;
const PAGE_BYTES = 4 * KIB;

/**
 * Keeps this much free memory in the virtual machine while the file at `path`, on tmpfs, exists. A machine that has
 * returned its free memory has to wait until the host provides it again, for longer than it takes to copy a disk, and
 * the tool that is measured first would pay for the others. So the file takes the memory and then frees all but a few
 * pages of it.
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
