import type { Koffi, Native } from './native.js';
import type { Pipe, Posix } from './posix-calls.js';

const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const SPLICE_F_NONBLOCK = 2;

/** A call allocates nothing: all calls share one offset, filled as 32-bit halves. */
export function bindSplice(koffi: Koffi, splice: Native): Posix['spliceNow'] {
  const position = new Uint32Array(new ArrayBuffer(8));
  const positionAddress = Number(koffi.address(position));
  return (fromFd, offset, toFd, length) => {
    position[0] = offset ?? 0;
    position[1] = (offset ?? 0) / 2 ** 32;
    const offsetAddress = offset === undefined ? 0 : positionAddress;
    const count = Number(splice(fromFd, offsetAddress, toFd, 0, length, SPLICE_F_NONBLOCK));
    return count === -1 ? -koffi.errno() : count;
  };
}

interface PipeCalls {
  readonly pipe2: Native;
  readonly fcntl: Native;
}

export function bindPipe({ pipe2, fcntl }: PipeCalls): (capacityBytes: number) => Pipe | undefined {
  return (capacityBytes) => {
    const fds = new Int32Array(2);
    if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) === -1) return undefined;
    const [outFd, inFd] = fds as unknown as [number, number];
    // A user who has many pipes gets no larger one. The smaller one does as well.
    fcntl(inFd, F_SETPIPE_SZ, 'int', capacityBytes);
    return { inFd, outFd, capacityBytes: fcntl(inFd, F_GETPIPE_SZ, 'int', 0) };
  };
}
