import { constants, fstatSync, openSync, type Stats, write, writeSync } from 'node:fs';
import { errnoOf } from '../base/errno.js';
import type { Posix } from '../posix/posix-calls.js';

/** Writes the start of `bytes`: how many, or a negative errno, which is -EAGAIN while their reader takes none. */
export type LogChannel = (bytes: Buffer) => number | Promise<number>;

/**
 * Writes to a descriptor that this process was started with, without ever waiting for a reader on the event loop. Other processes
 * may have the same open file, so it is not itself made non-blocking.
 */
export function openLogChannel(fd: number, posix: Pick<Posix, 'sendNow'> | undefined): LogChannel {
  const stats = fstatSync(fd);
  const own = reopen(fd, stats);
  if (own !== undefined) return (bytes) => writeNow(own, bytes);
  if (stats.isSocket() && posix) return (bytes) => posix.sendNow(fd, bytes);
  // A file may lie on a disk that hangs; it then keeps one thread of the pool.
  return (bytes) =>
    new Promise((resolve) => {
      write(fd, bytes, (error, count) => resolve(error ? -errnoOf(error) : count));
    });
}

/** A non-blocking descriptor of our own for the same pipe or terminal; undefined where there is none to be had. */
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
