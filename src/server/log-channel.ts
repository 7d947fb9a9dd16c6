import { constants, fstatSync, openSync, type Stats, write, writeSync } from 'node:fs';
import { errnoOf } from '../base/errno.js';
import type { Posix } from '../posix/posix-calls.js';

/** Writes the start of `bytes`. Returns how many were written, or a negative errno: -EAGAIN while the reader accepts none. */
export type LogChannel = (bytes: Buffer) => number | Promise<number>;

/**
 * Writes to an inherited descriptor, and never blocks the event loop for a slow reader. The descriptor itself is not made
 * non-blocking, because other processes may share its open file.
 */
export function openLogChannel(fd: number, posix: Pick<Posix, 'sendNow'> | undefined): LogChannel {
  const stats = fstatSync(fd);
  const own = reopen(fd, stats);
  if (own !== undefined) return (bytes) => writeNow(own, bytes);
  if (stats.isSocket() && posix) return (bytes) => posix.sendNow(fd, bytes);
  // If the file is on a disk that hangs, the write occupies one thread of the pool.
  return (bytes) =>
    new Promise((resolve) => {
      write(fd, bytes, (error, count) => resolve(error ? -errnoOf(error) : count));
    });
}

/** A separate, non-blocking descriptor for the same pipe or terminal. Undefined if that is not possible. */
function reopen(fd: number, stats: Stats): number | undefined {
  if (!stats.isFIFO() && !stats.isCharacterDevice()) return undefined;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return undefined;
  }
}

function writeNow(fd: number, bytes: Buffer): number {
  try {
    return writeSync(fd, bytes);
  } catch (error) {
    return -errnoOf(error);
  }
}
