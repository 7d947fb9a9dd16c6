import type { Koffi, Native } from './native.js';
import type { Posix } from './posix-calls.js';

const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 1;
/** What mmap returns when it fails: (void *) -1. */
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

interface Calls {
  readonly mmap: Native;
  readonly munmap: Native;
}

export function bindMapping({ view }: Koffi, { mmap, munmap }: Calls): Posix['mapSharedNow'] {
  return (fd, bytes) => {
    const address: bigint = mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address === MAP_FAILED) return undefined;
    return { memory: view(address, bytes), unmap: () => void munmap(address, bytes) };
  };
}
