import { constants } from 'node:os';

/**
 * A Linux error number; 0 means success. The data path returns expected failures as this value and throws nothing:
 * a full disk must not cost a stack trace per request.
 */
export type Errno = number;

export const OK: Errno = 0;
export const EPERM: Errno = constants.errno.EPERM;
export const EINTR: Errno = constants.errno.EINTR;
export const EIO: Errno = constants.errno.EIO;
export const ENXIO: Errno = constants.errno.ENXIO;
export const EAGAIN: Errno = constants.errno.EAGAIN;
export const ENOMEM: Errno = constants.errno.ENOMEM;
export const EINVAL: Errno = constants.errno.EINVAL;
export const EFBIG: Errno = constants.errno.EFBIG;
export const ENOSPC: Errno = constants.errno.ENOSPC;
export const ERANGE: Errno = constants.errno.ERANGE;
export const EROFS: Errno = constants.errno.EROFS;
export const EOVERFLOW: Errno = constants.errno.EOVERFLOW;
export const EOPNOTSUPP: Errno = constants.errno.EOPNOTSUPP;
export const EDQUOT: Errno = constants.errno.EDQUOT;
/** The Linux number; Node's table lacks it. */
export const ESHUTDOWN: Errno = 108;

/** A `…Now` call returns this if it would have to wait. Call its promise-returning twin instead. */
export const WOULD_BLOCK = -1;

const nameByNumber = new Map<number, string>(Object.entries(constants.errno).map(([name, number]) => [number, name]));
nameByNumber.set(ESHUTDOWN, 'ESHUTDOWN');

/** The name for logs: `ENOSPC` for 28. */
export function errnoName(errno: Errno): string {
  return nameByNumber.get(errno) ?? `errno ${errno}`;
}

/**
 * The error number that a failed Node file system call carries (`error.errno` is negative there); EIO if it carries
 * none.
 */
export function errnoOf(error: unknown): Errno {
  const errno = (error as { errno?: unknown } | null)?.errno;
  return typeof errno === 'number' && errno !== 0 ? Math.abs(errno) : EIO;
}

/** Whether a call failed because a file or a folder does not exist. */
export function isMissing(error: unknown): boolean {
  return (error as { code?: unknown } | null | undefined)?.code === 'ENOENT';
}
