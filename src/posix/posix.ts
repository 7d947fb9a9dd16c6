import { createRequire } from 'node:module';
import { assert } from '../base/assert.js';
import { EINTR } from '../base/errno.js';
import { Turnstile } from '../base/turnstile.js';
import type { Koffi, Native } from './native.js';
import { nodePosix } from './node-posix.js';
import type { CallResult, Posix } from './posix-calls.js';
import { bindDatagrams, bindSend } from './posix-datagram.js';
import { bindExec } from './posix-exec.js';
import { bindMapping } from './posix-memory.js';
import { bindDuplicate, bindPeer, bindWaitingSocket } from './posix-socket.js';
import { bindPipe, bindSplice } from './posix-splice.js';

/*
 * Binds the system calls that Node lacks, through koffi. The declarations and structure layouts are those of
 * little-endian 64-bit Linux, where off_t, long and size_t all have 64 bits.
 */

const SUPPORTED_ARCHITECTURES = ['x64', 'arm64', 'riscv64', 'loong64'];

/** koffi throws at 256. */
export const MAX_CALLS_IN_FLIGHT = 240;

const RWF_NOWAIT = 8;
const POSIX_FADV_WILLNEED = 3;
const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
const FICLONE = 0x40049409;
const LOOP_GET_STATUS64 = 0x4c05;
/** Size of struct loop_info64. */
const LOOP_INFO_BYTES = 232;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

type Declare = (name: string, result: string, parameters: string[]) => Native | undefined;

let loaded: { readonly posix: Posix | undefined } | undefined;

/** Native calls where the C library has them, otherwise Node's; undefined if this machine cannot make native calls. */
export function loadPosix(): Posix | undefined {
  loaded ??= { posix: load() };
  return loaded.posix;
}

function load(): Posix | undefined {
  if (process.platform !== 'linux' || !SUPPORTED_ARCHITECTURES.includes(process.arch)) return undefined;
  try {
    const koffi: Koffi = createRequire(import.meta.url)('koffi');
    // Null means the process itself, and so the C library that Node was linked with.
    const library = koffi.load(null);
    return bindPosix(koffi, (name, result, parameters) => {
      try {
        return library.func(name, result, parameters);
      } catch {
        return undefined;
      }
    });
  } catch {
    return undefined;
  }
}

/** Binds the functions that `declare` finds; the other calls are left to Node. */
export function bindPosix(koffi: Koffi, declare: Declare): Posix {
  const preadv2 = declare('preadv2', 'int64', ['int', 'uintptr', 'int', 'int64', 'int']);
  const pread = declare('pread', 'int64', ['int', 'uintptr', 'size_t', 'int64']);
  const pwrite = declare('pwrite', 'int64', ['int', 'uintptr', 'size_t', 'int64']);
  const lseek = declare('lseek', 'int64', ['int', 'int64', 'int']);
  const syncFileRange = declare('sync_file_range', 'int', ['int', 'int64', 'int64', 'uint32']);
  const fallocate = declare('fallocate', 'int', ['int', 'int', 'int64', 'int64']);
  const fadvise = declare('posix_fadvise', 'int', ['int', 'int64', 'int64', 'int']);
  // Variadic in C, but on these architectures integers are passed the same way.
  const ioctl = declare('ioctl', 'int', ['int', 'uint64', 'int']);
  const ioctlInto = declare('ioctl', 'int', ['int', 'uint64', 'void *']);
  const setsockopt = declare('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint32']);
  const getsockopt = declare('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);
  const socket = declare('socket', 'int', ['int', 'int', 'int']);
  const sendto = declare('sendto', 'int64', ['int', 'void *', 'size_t', 'int', 'void *', 'uint32']);
  const send = declare('send', 'int64', ['int', 'void *', 'size_t', 'int']);
  const close = declare('close', 'int', ['int']);
  const execve = declare('execve', 'int', ['const char *', 'const char **', 'const char **']);
  const exit = declare('_exit', 'void', ['int']);
  const fcntl = declare('fcntl', 'int', ['int', 'int', '...']);
  const mmap = declare('mmap', 'void *', ['uintptr', 'size_t', 'int', 'int', 'int', 'int64']);
  const splice = declare('splice', 'int64', ['int', 'uintptr', 'int', 'uintptr', 'size_t', 'uint32']);
  const pipe2 = declare('pipe2', 'int', ['void *', 'int']);
  const munmap = declare('munmap', 'int', ['void *', 'size_t']);
  return {
    ...nodePosix,
    ...(preadv2 && { readCachedNow: bindReadCached(koffi, preadv2) }),
    ...(pread && { readNow: bindTransfer(koffi, pread) }),
    ...(pwrite && { writeNow: bindTransfer(koffi, pwrite) }),
    ...(lseek && bindSeek(koffi, lseek)),
    ...(syncFileRange && { awaitWriteback: bindAwaitWriteback(koffi, syncFileRange) }),
    ...(fallocate && { fallocate: bindLater(koffi, fallocate) }),
    ...(fadvise && { willNeed: bindWillNeed(koffi, fadvise) }),
    ...(ioctl && { clone: bindClone(koffi, ioctl) }),
    ...(ioctlInto && { loopTargetNow: bindLoopTarget(ioctlInto) }),
    ...(exit && { exitNow: (code: number) => void exit(code) }),
    ...(setsockopt && { setSendBufferNow: bindSendBuffer(koffi, setsockopt) }),
    ...(getsockopt && { peerOfNow: bindPeer(koffi, getsockopt) }),
    ...(fcntl && setsockopt && { duplicateWaitingNow: bindWaitingSocket(koffi, { fcntl, setsockopt }) }),
    ...(socket && sendto && close && { sendDatagramNow: bindDatagrams(koffi, { socket, sendto, close }) }),
    ...(send && { sendNow: bindSend(koffi, send) }),
    ...(execve && fcntl && { replaceProcessNow: bindExec(koffi, { execve, fcntl }) }),
    ...(fcntl && { duplicateNow: bindDuplicate(koffi, fcntl), ...bindLocks(koffi, fcntl) }),
    ...(splice && { spliceNow: bindSplice(koffi, splice) }),
    ...(pipe2 && fcntl && { openPipeNow: bindPipe({ pipe2, fcntl }) }),
    ...(mmap && munmap && { mapSharedNow: bindMapping(koffi, { mmap, munmap }) }),
  };
}

/** preadv2 with RWF_NOWAIT. A call allocates nothing: all calls share one iovec, filled as 32-bit halves. */
function bindReadCached(koffi: Koffi, preadv2: Native): Posix['readCachedNow'] {
  const addressOf = rememberAddresses(koffi);
  const iovec = new Uint32Array(new ArrayBuffer(16));
  const iovecAddress = Number(koffi.address(iovec));
  return (fd, target, start, length, offset) => {
    assert(start >= 0 && length >= 0 && start + length <= target.length, 'the transfer lies inside the buffer');
    const address = addressOf(target) + start;
    iovec[0] = address;
    iovec[1] = address / 2 ** 32;
    iovec[2] = length;
    const count: number = preadv2(fd, iovecAddress, 1, offset, RWF_NOWAIT);
    return count === -1 ? -koffi.errno() : count;
  };
}

/** pread or pwrite: like fs.readSync and fs.writeSync, but a failure returns a number instead of throwing. */
function bindTransfer(koffi: Koffi, call: Native): Posix['readNow'] {
  const addressOf = rememberAddresses(koffi);
  return (fd, buffer, start, length, offset) => {
    assert(start >= 0 && length >= 0 && start + length <= buffer.length, 'the transfer lies inside the buffer');
    const count: number = call(fd, addressOf(buffer) + start, length, offset);
    return count === -1 ? -koffi.errno() : count;
  };
}

/**
 * Remembers the addresses of buffers, because looking one up costs a tenth of a read. An address is valid as long as
 * the buffer keeps its memory. A buffer whose memory was transferred has length 0, so the range assertions reject it.
 */
function rememberAddresses(koffi: Koffi): (buffer: Buffer) => number {
  const addresses = new WeakMap<Buffer, number>();
  let lastBuffer: Buffer | undefined;
  let lastAddress = 0;
  return (buffer) => {
    if (buffer === lastBuffer) return lastAddress;
    let address = addresses.get(buffer);
    if (address === undefined) {
      address = Number(koffi.address(buffer));
      addresses.set(buffer, address);
    }
    lastBuffer = buffer;
    lastAddress = address;
    return address;
  };
}

function bindSeek(koffi: Koffi, lseek: Native): Pick<Posix, 'seekNow' | 'seek'> {
  return {
    seekNow: (fd, offset, whence) => {
      const position = Number(lseek(fd, offset, whence));
      return position === -1 ? -koffi.errno() : position;
    },
    seek: bindLater(koffi, lseek),
  };
}

/** posix_fadvise returns its error number as a positive result. */
function bindWillNeed(koffi: Koffi, fadvise: Native): Posix['willNeed'] {
  const call = bindLater(koffi, fadvise);
  return async (fd, offset, length) => 0 - (await call(fd, offset, length, POSIX_FADV_WILLNEED));
}

/** A length of 0 means up to the end of the file. */
function bindAwaitWriteback(koffi: Koffi, syncFileRange: Native): Posix['awaitWriteback'] {
  const call = bindLater(koffi, syncFileRange);
  return (fd) => call(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE);
}

function bindClone(koffi: Koffi, ioctl: Native): Posix['clone'] {
  const call = bindLater(koffi, ioctl);
  return (fd, sourceFd) => call(fd, FICLONE, sourceFd);
}

/** struct loop_info64 begins with lo_device, lo_inode and lo_rdevice. */
function bindLoopTarget(ioctl: Native): Posix['loopTargetNow'] {
  return (fd) => {
    const info = Buffer.alloc(LOOP_INFO_BYTES);
    if (ioctl(fd, LOOP_GET_STATUS64, info) === -1) return undefined;
    const [device, inode, shownDevice] = [0, 8, 16].map((at) => info.readBigUInt64LE(at));
    return { device: device!, inode: inode!, shownDevice: shownDevice! };
  };
}

const inFlight = new Turnstile(MAX_CALLS_IN_FLIGHT);

/** Makes the call in the thread pool, and repeats it when a signal interrupts it. */
function bindLater(koffi: Koffi, call: Native): (...parameters: number[]) => Promise<CallResult> {
  const once = (parameters: number[]) =>
    new Promise<CallResult>((resolve, reject) => {
      call.async(...parameters, (error: Error | null, result: number | bigint) => {
        if (error) reject(error);
        else resolve(Number(result) === -1 ? -koffi.errno() : Number(result));
      });
    });
  return (...parameters) =>
    inFlight.pass(async () => {
      let result: CallResult;
      do result = await once(parameters);
      while (result === -EINTR);
      return result;
    });
}

function bindSendBuffer(koffi: Koffi, setsockopt: Native): Posix['setSendBufferNow'] {
  return (fd, bytes) => {
    const value = new Int32Array([bytes]);
    return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, value.byteLength) === -1 ? -koffi.errno() : 0;
  };
}

/** Locks of the open file description. Unlike process locks, they survive the closing of another descriptor. */
function bindLocks(koffi: Koffi, fcntl: Native): Pick<Posix, 'lockByteNow' | 'lockByteAloneNow' | 'byteLockedNow'> {
  const call = (fd: number, command: number, lock: Buffer): CallResult =>
    fcntl(fd, command, 'void *', lock) === -1 ? -koffi.errno() : 0;
  return {
    lockByteNow: (fd, offset) => call(fd, F_OFD_SETLK, flock(F_RDLCK, offset)),
    lockByteAloneNow: (fd, offset) => call(fd, F_OFD_SETLK, flock(F_WRLCK, offset)),
    byteLockedNow: (fd, offset) => {
      const lock = flock(F_WRLCK, offset);
      const result = call(fd, F_OFD_GETLK, lock);
      return result === 0 ? Number(lock.readInt16LE(0) !== F_UNLCK) : result;
    },
  };
}

/** struct flock: type and whence (SEEK_SET) as int16; at byte 8, start and length as int64; then the pid (0). */
function flock(type: number, offset: number): Buffer {
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(type, 0);
  lock.writeBigInt64LE(BigInt(offset), 8);
  lock.writeBigInt64LE(1n, 16);
  return lock;
}
