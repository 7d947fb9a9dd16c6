import { fdatasync, read, readSync, write, writeSync } from 'node:fs';
import { EOPNOTSUPP, errnoOf } from '../base/errno.js';
import type { CallResult, Posix } from './posix-calls.js';

type Settle = (error: unknown, result?: number) => void;

/** Makes a callback-style Node call, which runs in the thread pool. */
function later(start: (settle: Settle) => void): Promise<CallResult> {
  return new Promise((resolve) => {
    start((error, result) => resolve(error ? -errnoOf(error) : (result ?? 0)));
  });
}

function now(call: () => number): CallResult {
  try {
    return call();
  } catch (error) {
    return -errnoOf(error);
  }
}

const missingNow = (): CallResult => -EOPNOTSUPP;
const missing = async (): Promise<CallResult> => -EOPNOTSUPP;

/** The calls that Node itself offers: enough to serve a disk, but without holes and locks. */
export const nodePosix: Posix = {
  readCachedNow: missingNow,
  readNow: (fd, target, start, length, offset) => now(() => readSync(fd, target, start, length, offset)),
  read: (fd, target, start, length, offset) => later((settle) => read(fd, target, start, length, offset, settle)),
  writeNow: (fd, source, start, length, offset) => now(() => writeSync(fd, source, start, length, offset)),
  write: (fd, source, start, length, offset) => later((settle) => write(fd, source, start, length, offset, settle)),
  sync: (fd) => later((settle) => fdatasync(fd, settle)),
  awaitWriteback: missing,
  fallocate: missing,
  seekNow: missingNow,
  seek: missing,
  spliceNow: missingNow,
  openPipeNow: () => undefined,
  clone: missing,
  willNeed: missing,
  exitNow: () => void process.kill(process.pid, 'SIGKILL'),
  duplicateNow: missingNow,
  setSendBufferNow: missingNow,
  peerOfNow: () => undefined,
  duplicateWaitingNow: missingNow,
  sendDatagramNow: missingNow,
  sendNow: missingNow,
  replaceProcessNow: missingNow,
  loopTargetNow: () => undefined,
  lockByteNow: missingNow,
  lockByteAloneNow: missingNow,
  byteLockedNow: missingNow,
  mapSharedNow: () => undefined,
};
