import { EIO, type Errno, errnoOf, OK } from '../../base/errno.js';
import type { CallResult } from '../../posix/posix-calls.js';
import type { ImageFile } from './image-file.js';

/**
 * Makes an image durable. Flushes that are requested while one runs share the next one. It starts after all of those
 * requests, so it covers every write that they have to cover.
 *
 * After a flush has failed, no later flush succeeds. Linux reports a failed write-back once and then treats the lost
 * pages as clean, so the next fdatasync would confirm data that is gone.
 */
export class FileFlusher {
  /** How many flushes have shared one that was requested before. */
  merged = 0;
  private hasFailed = false;
  private running: Promise<unknown> = Promise.resolve();
  private next: Promise<Errno> | undefined;

  constructor(private readonly file: ImageFile) {}

  /** Once true, stays true: the image must not be changed until it is opened again. */
  get failed(): boolean {
    return this.hasFailed;
  }

  flush(): Promise<Errno> {
    if (this.next === undefined) {
      this.next = this.running.then(() => this.sync());
      this.running = this.next;
    } else this.merged++;
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
      // The call itself failed, so we do not know what is durable.
      result = -errnoOf(error);
    }
    if (result === 0) return OK;
    this.hasFailed = true;
    return faults.report(
      'flush',
      -result,
      'the storage lost data that had been written; the export rejects changes until it is removed and added again',
    );
  }
}
