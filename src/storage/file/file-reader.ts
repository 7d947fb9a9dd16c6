import { EAGAIN, EINTR, EIO, EOPNOTSUPP, type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import { MIB } from '../../base/units.js';
import type { Posix } from '../../posix/posix-calls.js';
import type { PagePipe } from '../device/page-pipe.js';
import type { ImageFile } from './image-file.js';

/** Larger transfers would block the event loop for too long just by copying, so they use the thread pool. */
export const MAX_NOW_BYTES = MIB;

/**
 * Reads an image. Only reads that cannot wait for a disk run on the event loop: those of memory files, and those of the
 * page cache if the file system supports RWF_NOWAIT.
 */
export class FileReader {
  private readonly file: ImageFile;
  /** Undefined if no read of this file may run on the event loop. */
  private readonly quickCall: Posix['readNow'] | undefined;

  constructor(file: ImageFile) {
    this.file = file;
    this.quickCall = quickCallFor(file);
  }

  readNow(target: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (this.quickCall === undefined || length > MAX_NOW_BYTES) return WOULD_BLOCK;
    const count = this.quickCall(this.file.fd, target, start, length, offset);
    if (count === length) return OK;
    // Either only part of the data is cached, or the file ends there. `read` finds out which.
    if (count >= 0 || count === -EAGAIN || count === -EINTR || count === -EOPNOTSUPP) return WOULD_BLOCK;
    return this.file.faults.report('read', -count);
  }

  /** Only pages of memory files are lent, because splice(2) waits for pages that are not in the cache. */
  lendNow(pipe: PagePipe, length: number, offset: number): typeof OK | typeof WOULD_BLOCK {
    const { fd, posix, inMemory } = this.file;
    if (!inMemory) return WOULD_BLOCK;
    const count = posix.spliceNow(fd, offset, pipe.inFd, length);
    if (count === length) return OK;
    if (count > 0) pipe.drop(count);
    return WOULD_BLOCK;
  }

  async read(target: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const { fd, posix, faults, endsWithin = Number.POSITIVE_INFINITY } = this.file;
    for (let done = 0; done < length; ) {
      const count = await posix.read(fd, target, start + done, length - done, offset + done);
      if (count === -EINTR) continue;
      if (count < 0) return faults.report('read', -count);
      if (count === 0 && offset + done >= endsWithin) {
        target.fill(0, start + done, start + length);
        return OK;
      }
      if (count === 0) {
        return faults.report(
          'read',
          EIO,
          'the image is shorter than its disk: something truncated it while it was served',
        );
      }
      done += count;
    }
    return OK;
  }
}

function quickCallFor({ fd, posix, inMemory }: ImageFile): Posix['readNow'] | undefined {
  if (inMemory) return posix.readNow;
  const probe = posix.readCachedNow(fd, Buffer.alloc(1), 0, 1, 0);
  return probe >= 0 || probe === -EAGAIN ? posix.readCachedNow : undefined;
}
