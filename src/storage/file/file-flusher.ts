import { EIO, type Errno, errnoOf, OK } from '../../base/errno.js';
import type { CallResult } from '../../posix/posix-calls.js';
import type { ImageFile } from './image-file.js';

/**
 * Makes an image durable. Flushes that are asked for while one runs share the next: that one starts after all of them
 * were asked for, so it covers whatever each of them has to.
 *
 * A flush that failed is never followed by one that succeeds: Linux reports a failed write-back once and then treats
 * the lost pages as clean, so the next fdatasync would confirm data that is gone.
 */
export class FileFlusher {
  private hasFailed = false;
  private running: Promise<unknown> = Promise.resolve();
  private next: Promise<Errno> | undefined;

  constructor(private readonly file: ImageFile) {}

  /** Once true it stays so: the image must not be changed any more until it is opened anew. */
  get failed(): boolean {
    return this.hasFailed;
  }

  flush(): Promise<Errno> {
    if (this.next === undefined) {
      this.next = this.running.then(() => this.sync());
      this.running = this.next;
    }
    return this.next;
  }

  private async sync(): Promise<Errno> {
    this.next = undefined;
    if (this.hasFailed) return EIO;
    const { fd, posix, faults } = this.file;
    let result: CallResult;
    try {
      result = await posix.sync(fd);
    } catch (error) {
      // It has told nothing of what is durable.
      result = -errnoOf(error);
    }
    if (result === 0) return OK;
    this.hasFailed = true;
    return faults.report(
      'flush',
      -result,
      'the storage lost data that had been written; the export takes no more changes until it is removed and added again',
    );
  }
}
