import { closeSync, constants } from 'node:fs';
import type { Koffi, Native } from './native.js';
import type { Posix } from './posix-calls.js';

const F_GETFL = 3;
const F_SETFL = 4;
const F_DUPFD_CLOEXEC = 1030;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;

interface Calls {
  readonly fcntl: Native;
  readonly setsockopt: Native;
}

export function bindDuplicate(koffi: Koffi, fcntl: Native): Posix['duplicateNow'] {
  return (fd) => {
    const copy: number = fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0);
    return copy === -1 ? -koffi.errno() : copy;
  };
}

export function bindWaitingSocket(koffi: Koffi, { fcntl, setsockopt }: Calls): Posix['duplicateWaitingNow'] {
  const duplicate = bindDuplicate(koffi, fcntl);
  return (fd, milliseconds) => {
    const copy = duplicate(fd);
    if (copy < 0) return copy;
    const flags: number = fcntl(copy, F_GETFL, 'int', 0);
    const time = timeval(milliseconds);
    const failed =
      [SO_RCVTIMEO, SO_SNDTIMEO].some((option) => setsockopt(copy, SOL_SOCKET, option, time, time.byteLength) === -1) ||
      fcntl(copy, F_SETFL, 'int', flags & ~constants.O_NONBLOCK) === -1;
    if (!failed) return copy;
    const errno = koffi.errno();
    closeSync(copy);
    return -errno;
  };
}

/** struct timeval: seconds and microseconds. */
function timeval(milliseconds: number): BigInt64Array {
  return new BigInt64Array([BigInt(Math.floor(milliseconds / 1000)), BigInt((milliseconds % 1000) * 1000)]);
}
