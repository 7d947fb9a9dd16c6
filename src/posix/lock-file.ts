import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rm } from 'node:fs/promises';
import { hostname, constants as osConstants } from 'node:os';
import { EAGAIN, EOPNOTSUPP, errnoName } from '../base/errno.js';
import { loadPosix } from './posix.js';

const OPEN = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const OWNER_ONLY = 0o600;
const MAX_HOLDER_BYTES = 200;
const { EACCES } = osConstants.errno;

/** Another process holds the lock. */
export class LockHeldError extends Error {
  constructor(
    path: string,
    /** How the holder describes itself; undefined if it wrote nothing. */
    readonly holder: string | undefined,
  ) {
    super(`${path} is locked${holder === undefined ? '' : ` by ${holder}`}`);
  }
}

/**
 * A lock that one process can hold at a time: a kernel lock on a file that serves no other purpose. It ends with its
 * process and works across all containers that see the file. Only the owner can take it, because only the owner can
 * open the file.
 */
export class LockFile implements AsyncDisposable {
  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /**
   * Creates the file if it is missing. Does not wait. @throws LockHeldError if another process holds it; system errors
   */
  static async take(path: string): Promise<LockFile> {
    for (;;) {
      const file = await open(path, OPEN, OWNER_ONLY);
      try {
        if (await lock(file, path)) {
          // If the disk is full, the holder stays unnamed, but the lock is held all the same.
          await sayWhoHolds(file).catch(() => {});
          return new LockFile(path, file);
        }
      } catch (error) {
        await file.close();
        throw error;
      }
      // The previous holder removed the file after we opened it.
      await file.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Remove the file before releasing the lock: a process that has it open then notices that the name is gone.
    await rm(this.path, { force: true }).catch(() => {});
    await this.file.close();
  }
}

/** False if the locked file no longer has that name. */
async function lock(file: FileHandle, path: string): Promise<boolean> {
  const opened = await file.stat({ bigint: true });
  if (!opened.isFile()) throw systemError('EINVAL', `${path} is not a regular file`);
  const result = loadPosix()?.lockByteAloneNow(file.fd, 0) ?? -EOPNOTSUPP;
  if (result === -EAGAIN || result === -EACCES) throw new LockHeldError(path, await readHolder(file));
  if (result < 0) throw systemError(errnoName(-result), `${path} cannot be locked: ${errnoName(-result)}`);
  const named = await lstat(path, { bigint: true }).catch(() => undefined);
  if (named?.ino !== opened.ino || named.dev !== opened.dev) return false;
  // Behind the other name could be a file that we must not write to.
  if (named.nlink !== 1n) throw systemError('EMLINK', `${path} has more than one name`);
  return true;
}

async function sayWhoHolds(file: FileHandle): Promise<void> {
  const holder = Buffer.from(`process ${process.pid} on ${hostname()}\n`);
  await file.truncate();
  await file.write(holder, 0, holder.length, 0);
}

async function readHolder(file: FileHandle): Promise<string | undefined> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_HOLDER_BYTES), 0, MAX_HOLDER_BYTES, 0);
  return buffer.toString('utf8', 0, bytesRead).split('\n')[0] || undefined;
}

function systemError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code, syscall: 'fcntl' });
}
