import { readSync } from 'node:fs';
import { KIB, MIB } from '../../base/units.js';
import { loadPosix } from '../../posix/posix.js';
import type { Pipe, Posix } from '../../posix/posix-calls.js';

/** As much as Linux allows a user by default. */
const WANTED_BYTES = MIB;
const PAGE_BYTES = 4 * KIB;

/**
 * Carries references to pages from a file to a socket, so that only the client copies the data. The pipe is empty except
 * between the call that fills it and those that empty it.
 */
export class PagePipe {
  private constructor(
    private readonly pipe: Pipe,
    private readonly posix: Posix,
  ) {}

  /** Undefined if this machine cannot make the calls, or the process has no descriptors left. */
  static open(posix = loadPosix()): PagePipe | undefined {
    const pipe = posix?.openPipeNow(WANTED_BYTES);
    return posix && pipe && new PagePipe(pipe, posix);
  }

  /** Where pages go in. */
  get inFd(): number {
    return this.pipe.inFd;
  }

  /** Whether the pages of a range fit, of which the first and the last may be used only in part. */
  fits(offset: number, length: number): boolean {
    return (offset % PAGE_BYTES) + length <= this.pipe.capacityBytes;
  }

  /** Sends up to `length` bytes to a socket, without waiting. Returns how many it took; 0 if it failed. */
  sendTo(socketFd: number, length: number): number {
    return Math.max(this.posix.spliceNow(this.pipe.outFd, undefined, socketFd, length), 0);
  }

  /** Copies the next `length` bytes, which are in the pipe. */
  take(target: Buffer, start: number, length: number): void {
    for (let done = 0; done < length; ) {
      done += readSync(this.pipe.outFd, target, start + done, length - done, null);
    }
  }

  /** Drops the next `length` bytes, which are in the pipe. */
  drop(length: number): void {
    this.take(Buffer.allocUnsafe(length), 0, length);
  }
}

let shared: PagePipe | undefined;
let isOpened = false;

/** The pipe of this thread, which stays open. Undefined if there can be none. */
export function sharedPagePipe(): PagePipe | undefined {
  if (!isOpened) shared = PagePipe.open();
  isOpened = true;
  return shared;
}
