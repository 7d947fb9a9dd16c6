/** The result of a call, as the kernel itself returns it: 0, a count or an offset, or a negative errno. */
export type CallResult = number;

export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Modes of `fallocate`. They do not change the size of the file. */
export const PUNCH_HOLE = 0x01 | 0x02;
export const ZERO_RANGE = 0x01 | 0x10;

/**
 * System calls on an open file descriptor. Calls named `…Now` run on the event loop, the others in the thread pool. A
 * call that this machine does not offer returns -EOPNOTSUPP.
 *
 * `loadPosix` implements it with native calls, `nodePosix` with Node's own, and tests with calls that fail.
 */
export interface Posix {
  /** Reads from the page cache without waiting: -EAGAIN if nothing is cached, a short count if only the start is. */
  readonly readCachedNow: ReadCall<CallResult>;
  readonly readNow: ReadCall<CallResult>;
  readonly read: ReadCall<Promise<CallResult>>;
  readonly writeNow: WriteCall<CallResult>;
  readonly write: WriteCall<Promise<CallResult>>;
  /** fdatasync(2) */
  readonly sync: (fd: number) => Promise<CallResult>;
  /**
   * sync_file_range(2), SYNC_FILE_RANGE_WAIT_BEFORE, on the whole file: waits for running write-back without starting
   * any. If written data was lost, reports that once.
   */
  readonly awaitWriteback: (fd: number) => Promise<CallResult>;
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => Promise<CallResult>;
  /**
   * lseek(2): the next data or hole at or after `offset`, or -ENXIO if there is none before the end of the file. With
   * `offset` 0 and SEEK_END, the end of the file.
   */
  readonly seekNow: SeekCall<CallResult>;
  readonly seek: SeekCall<Promise<CallResult>>;
  /**
   * splice(2): moves bytes from a file into a pipe, or from a pipe to a socket, without waiting for the pipe. Pages are
   * passed by reference where the kernel can. `offset` is the position in the file; undefined for a pipe.
   */
  readonly spliceNow: (fromFd: number, offset: number | undefined, toFd: number, length: number) => CallResult;
  /** pipe2(2), with room for `capacityBytes` if the system allows it. */
  readonly openPipeNow: (capacityBytes: number) => Pipe | undefined;
  /** ioctl(2), FICLONE: gives the file `fd` the content of `sourceFd`. They share blocks until either file changes. */
  readonly clone: (fd: number, sourceFd: number) => Promise<CallResult>;
  /** posix_fadvise(2), POSIX_FADV_WILLNEED */
  readonly willNeed: (fd: number, offset: number, length: number) => Promise<CallResult>;
  /** _exit(2): ends the process without waiting for its threads. */
  readonly exitNow: (code: number) => void;
  /** fcntl(2), F_DUPFD_CLOEXEC: another descriptor of the same open file or socket. */
  readonly duplicateNow: (fd: number) => CallResult;
  /** setsockopt(2), SO_SNDBUF: how many bytes a socket may hold that its peer has not read yet. */
  readonly setSendBufferNow: (fd: number, bytes: number) => CallResult;
  /** getsockopt(2), SO_PEERCRED and SO_PEERGROUPS: who connected to a unix socket. Undefined if nobody can say. */
  readonly peerOfNow: (fd: number) => PeerCredentials | undefined;
  /**
   * Duplicates the descriptor of a socket, for a thread. Calls on that socket wait from then on, also on the original
   * descriptor, but no longer than this: then they return -EAGAIN.
   */
  readonly duplicateWaitingNow: (fd: number, milliseconds: number) => CallResult;
  /** Sends to a unix datagram socket. `path` is a path, or `@` and a name in the abstract namespace. */
  readonly sendDatagramNow: (path: string, message: Buffer) => CallResult;
  /** send(2) to a connected socket, without waiting: -EAGAIN if its peer has to read first. */
  readonly sendNow: (fd: number, bytes: Buffer) => CallResult;
  /** execve(2), keeping the descriptors `keptFds` open. Returns only if it fails. */
  readonly replaceProcessNow: (program: Program) => CallResult;
  /** Takes a shared lock on one byte, which need not exist. The open file description owns the lock. */
  readonly lockByteNow: (fd: number, offset: number) => CallResult;
  /** The same, but an exclusive lock. */
  readonly lockByteAloneNow: (fd: number, offset: number) => CallResult;
  /** ioctl(2), LOOP_GET_STATUS64: what backs a loop device; undefined if nothing does, or it is not a loop device. */
  readonly loopTargetNow: (fd: number) => LoopTarget | undefined;
  /** 1 if another open file description holds a lock on that byte, else 0. */
  readonly byteLockedNow: (fd: number, offset: number) => CallResult;
  /**
   * mmap(2), MAP_SHARED, for reading and writing: the first `bytes` bytes of a file, which must have them. Undefined if
   * the file cannot be mapped.
   */
  readonly mapSharedNow: (fd: number, bytes: number) => Mapping | undefined;
}

/** Neither end ever waits. */
export interface Pipe {
  readonly inFd: number;
  readonly outFd: number;
  readonly capacityBytes: number;
}

/** The process at the other end, as it was when it connected. */
export interface PeerCredentials {
  readonly uid: number;
  /** Undefined if it stands for no particular group. */
  readonly gid: number | undefined;
  /** The supplementary groups. */
  readonly groups: readonly number[];
}

interface Mapping {
  readonly memory: ArrayBuffer;
  /** Nothing may use the memory afterwards: the process would crash. */
  readonly unmap: () => void;
}

interface Program {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly keptFds: readonly number[];
}

interface LoopTarget {
  /** Device number of the backing file's file system; if a device backs the loop device, that of its device node. */
  readonly device: bigint;
  readonly inode: bigint;
  /** The number of the backing device; 0 if a file backs it. */
  readonly shownDevice: bigint;
}

type ReadCall<Result> = (fd: number, target: Buffer, start: number, length: number, offset: number) => Result;
type WriteCall<Result> = (fd: number, source: Buffer, start: number, length: number, offset: number) => Result;
type SeekCall<Result> = (fd: number, offset: number, whence: SeekWhence) => Result;
export type SeekWhence = typeof SEEK_END | typeof SEEK_DATA | typeof SEEK_HOLE;
