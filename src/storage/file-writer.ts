import { EAGAIN, EINTR, EIO, type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { KIB } from '../base/units.js';
import { MAX_NOW_BYTES } from './file-reader.js';
import type { OpenFile } from './open-file.js';
import { Pace } from './pace.js';

const PAGE_BYTES = 4 * KIB;

/** Writes to an image, into the page cache: on the event loop for as long as that is quick. */
export class FileWriter {
  constructor(
    private readonly file: OpenFile,
    private readonly pace: Pace = new Pace(),
  ) {}

  writeNow(source: Buffer, start: number, length: number, offset: number): Errno | typeof WOULD_BLOCK {
    if (!this.#cannotWaitForDisk(length, offset)) return WOULD_BLOCK;
    const startMs = this.pace.nowMs();
    if (!this.pace.allowsNow(startMs)) return WOULD_BLOCK;
    const count = this.file.posix.writeNow(this.file.fd, source, start, length, offset);
    this.pace.tookNow(startMs, length);
    if (count === length) return OK;
    // `write` does it again from the start, and meets what stopped this one.
    if (count >= 0 || count === -EAGAIN || count === -EINTR) return WOULD_BLOCK;
    return this.file.faults.report('write', -count);
  }

  async write(source: Buffer, start: number, length: number, offset: number): Promise<Errno> {
    const { fd, posix, faults } = this.file;
    const startMs = this.pace.nowMs();
    for (let done = 0; done < length; ) {
      const count = await posix.write(fd, source, start + done, length - done, offset + done);
      if (count < 0) return faults.report('write', -count);
      if (count === 0) return faults.report('write', EIO, 'the storage under the image takes no data');
      done += count;
    }
    this.pace.tookLater(startMs, length);
    return OK;
  }

  /** As far as can be told beforehand: a page that is written in part may have to be read from the disk first. */
  #cannotWaitForDisk(length: number, offset: number): boolean {
    if (length > MAX_NOW_BYTES || this.file.exclusiveCalls > 0) return false;
    return this.file.inMemory || ((offset | length) & (PAGE_BYTES - 1)) === 0;
  }
}
