/** What a call gives: 0 or a count or an offset, or a negative errno, as the kernel itself answers. */
export type CallResult = number;

export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

/** Modes of `fallocate`; none of them changes the size of the file. */
export const PUNCH_HOLE = 0x01 | 0x02;
export const ZERO_RANGE = 0x01 | 0x10;

/**
 * The system calls that file devices make, on an open file descriptor. Calls named `…Now` run on the event loop; the
 * others in the thread pool. A call that is not to be had on this machine answers -EOPNOTSUPP.
 *
 * Made by `loadPosix` with native calls, by `nodePosix` with Node's own, and by tests with calls that fail.
 */
export interface Posix {
  /** Reads what the page cache holds without waiting: -EAGAIN for nothing, a short count for the first part. */
  readonly readCachedNow: ReadCall<CallResult>;
  readonly readNow: ReadCall<CallResult>;
  readonly read: ReadCall<Promise<CallResult>>;
  readonly writeNow: WriteCall<CallResult>;
  readonly write: WriteCall<Promise<CallResult>>;
  /** fdatasync(2) */
  readonly sync: (fd: number) => Promise<CallResult>;
  /**
   * sync_file_range(2), SYNC_FILE_RANGE_WAIT_BEFORE, of the whole file: waits for what is being written back, begins nothing,
   * and reports once when data was lost on the way.
   */
  readonly awaitWriteback: (fd: number) => Promise<CallResult>;
  readonly fallocate: (fd: number, mode: number, offset: number, length: number) => Promise<CallResult>;
  /**
   * lseek(2): the next data or hole at or after `offset`, -ENXIO when there is none before the end of the file; or the
   * end of the file (`offset` 0, SEEK_END).
   */
  readonly seekNow: SeekCall<CallResult>;
  readonly seek: SeekCall<Promise<CallResult>>;
  /** ioctl(2), FICLONE: the file `fd` gets the content of the file `sourceFd` and shares its blocks until either is changed. */
  readonly clone: (fd: number, sourceFd: number) => Promise<CallResult>;
  /** posix_fadvise(2), POSIX_FADV_WILLNEED */
  readonly willNeed: (fd: number, offset: number, length: number) => Promise<CallResult>;
  /** _exit(2): ends the process without waiting for its threads. */
  readonly exitNow: (code: number) => void;
  /** setsockopt(2), SO_SNDBUF: bytes that a socket may hold for a peer that has not read them yet. */
  readonly setSendBufferNow: (fd: number, bytes: number) => CallResult;
  /** Sends to a unix datagram socket: a path, or a name in the abstract namespace behind an `@`. */
  readonly sendDatagramNow: (path: string, message: Buffer) => CallResult;
  /** send(2) to a connected socket, without waiting: -EAGAIN when its peer has to read first. */
  readonly sendNow: (fd: number, bytes: Buffer) => CallResult;
  /** execve(2), with the descriptors `keptFds` still open. Comes back only with what went wrong. */
  readonly replaceProcessNow: (program: Program) => CallResult;
  /** Takes a shared lock on one byte, owned by the open file description; the byte need not exist. */
  readonly lockByteNow: (fd: number, offset: number) => CallResult;
  /** The same, of a lock that nobody shares. */
  readonly lockByteAloneNow: (fd: number, offset: number) => CallResult;
  /** ioctl(2), LOOP_GET_STATUS64: what a loop device shows; undefined when it shows nothing, or is no loop device. */
  readonly loopTargetNow: (fd: number) => LoopTarget | undefined;
  /** 1 when somebody else holds a lock on that byte, else 0. */
  readonly byteLockedNow: (fd: number, offset: number) => CallResult;
}

interface Program {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly keptFds: readonly number[];
}

interface LoopTarget {
  /** Of the file, or of the file that stands for a device. */
  readonly device: bigint;
  readonly inode: bigint;
  /** 0 for a file. */
  readonly shownDevice: bigint;
}

type ReadCall<Result> = (fd: number, target: Buffer, start: number, length: number, offset: number) => Result;
type WriteCall<Result> = (fd: number, source: Buffer, start: number, length: number, offset: number) => Result;
type SeekCall<Result> = (fd: number, offset: number, whence: SeekWhence) => Result;
export type SeekWhence = typeof SEEK_END | typeof SEEK_DATA | typeof SEEK_HOLE;
