import { EAGAIN, EINTR, EIO, type Errno, OK, WOULD_BLOCK } from '../../base/errno.js';
import { KIB } from '../../base/units.js';
import type { CallResult } from '../../posix/posix-calls.js';
import { MAX_NOW_BYTES } from './file-reader.js';
import type { ImageFile } from './image-file.js';
import { Pace } from './pace.js';

const PAGE_BYTES = 4 * KIB;

/** Writes to an image through the page cache, on the event loop as long as that is quick. */
export class FileWriter {
  private readonly pace = new Pace();

  constructor(private readonly file: ImageFile) {}

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (length > MAX_NOW_BYTES || this.file.exclusiveCalls > 0) return WOULD_BLOCK;
    const count = this.file.inMemory
      ? this.file.posix.writeNow(this.file.fd, source, start, length, offset)
      : this.writeToCache(source, start, length, offset);
    if (count === length) return OK;
    // `write` starts over, and finds out what stopped this call.
    if (count >= 0 || count === -EAGAIN || count === -EINTR) return WOULD_BLOCK;
    return this.file.faults.report('write', -count);
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const { fd, posix, faults } = this.file;
    const startMs = this.pace.nowMs();
    for (let done = 0; done < length; ) {
      const count = await posix.write(fd, source, start + done, length - done, offset + done);
      if (count < 0) return faults.report('write', -count);
      if (count === 0) return faults.report('write', EIO, 'the storage under the image accepts no data');
      done += count;
    }
    this.pace.tookLater(startMs, length);
    return OK;
  }

  /**
   * The page cache accepts data at once until too much of it waits to be written back. A page that is written only in
   * part may have to be read from the disk first, so such writes are left to the thread pool.
   */
  private writeToCache(source: Buffer, start: number, length: number, offset: number): CallResult {
    if (((offset | length) & (PAGE_BYTES - 1)) !== 0) return -EAGAIN;
    const startMs = this.pace.nowMs();
    if (!this.pace.allowsNow(startMs)) return -EAGAIN;
    const count = this.file.posix.writeNow(this.file.fd, source, start, length, offset);
    this.pace.tookNow(startMs, length);
    return count;
  }
}
