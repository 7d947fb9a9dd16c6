import { constants } from 'node:os';
import { CodedError } from '../../base/coded-error.js';
import { errnoName } from '../../base/errno.js';
import type { Log } from '../../base/log.js';
import type { Posix } from '../../posix/posix-calls.js';

/*
 * Locks on single bytes of an image declare who may do what with it, as in QEMU (block/file-posix.c), so that QEMU's
 * tools and tidemark respect each other. Each permission has two bytes. A shared lock on the first means "I use this
 * permission", one on the second "nobody else may use it". A process takes all its locks first and checks for conflicts
 * afterwards. If two processes try at the same time, both may be refused, but never neither.
 *
 * The locks belong to the open file description. They end when it is closed, at the latest with the process.
 */

const USED_BASE = 100;
const UNSHARED_BASE = 200;

const CONSISTENT_READ = 0;
const WRITE = 1;
const RESIZE = 3;

interface Permissions {
  readonly used: readonly number[];
  readonly unshared: readonly number[];
}

const WRITER: Permissions = { used: [CONSISTENT_READ, WRITE, RESIZE], unshared: [WRITE, RESIZE] };
/** The same as `qemu-nbd --read-only`: allows other readers, and a writer that does not change the size. */
const READER: Permissions = { used: [CONSISTENT_READ], unshared: [RESIZE] };

const { EACCES, EAGAIN } = constants.errno;

export interface ImageToLock {
  readonly fd: number;
  readonly path: string;
  readonly readOnly: boolean;
  readonly posix: Posix;
  readonly log: Log;
}

/**
 * Takes the locks of a reader or a writer, which last until `fd` is closed. If the file system or machine has no such
 * locks, logs a warning and goes on without. @throws CodedError IMAGE_LOCKED if another process holds conflicting locks
 */
export function lockImage(image: ImageToLock): void {
  const { used, unshared } = image.readOnly ? READER : WRITER;
  const own = [...used.map((bit) => USED_BASE + bit), ...unshared.map((bit) => UNSHARED_BASE + bit)];
  const contradicting = [...used.map((bit) => UNSHARED_BASE + bit), ...unshared.map((bit) => USED_BASE + bit)];
  for (const offset of own) {
    if (!succeeded(image, image.posix.lockByteNow(image.fd, offset))) return;
  }
  for (const offset of contradicting) {
    const result = image.posix.byteLockedNow(image.fd, offset);
    if (!succeeded(image, result)) return;
    if (result > 0) throw lockedError(image.path);
  }
}

/** False, with a warning in the log, if the image cannot be locked. */
function succeeded({ path, log }: ImageToLock, result: number): boolean {
  if (result >= 0) return true;
  if (result === -EAGAIN || result === -EACCES) throw lockedError(path);
  log.warn(
    { image: path, errno: errnoName(-result) },
    'the image cannot be locked: nothing stops another program from writing to it',
  );
  return false;
}

function lockedError(path: string): CodedError {
  return new CodedError(
    'IMAGE_LOCKED',
    `another process is using the image ${path}`,
    'stop the virtual machine, the server or the QEMU tool that has it open (`lslocks` may show which), then try again',
  );
}
