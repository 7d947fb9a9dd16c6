import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rm } from 'node:fs/promises';
import { hostname, constants as osConstants } from 'node:os';
import { EAGAIN, EOPNOTSUPP, errnoName } from '../base/errno.js';
import { loadPosix } from './posix.js';

const OPEN = constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const OWNER_ONLY = 0o600;
const MAX_HOLDER_BYTES = 200;
const { EACCES } = osConstants.errno;

/** Somebody else has the lock. */
export class LockHeldError extends Error {
  constructor(
    path: string,
    /** Who, in the words of the holder; undefined when it has not said. */
    readonly holder: string | undefined,
  ) {
    super(`${path} is locked${holder === undefined ? '' : ` by ${holder}`}`);
  }
}

/**
 * A lock that one process holds at a time: one of the kernel, on a file that is there for nothing else. So it is gone with
 * its process, holds in every container that sees the file, and only who may open the file, its owner, can take it.
 */
export class LockFile implements AsyncDisposable {
  private constructor(
    private readonly path: string,
    private readonly file: FileHandle,
  ) {}

  /** Makes the file when it is not there. @throws LockHeldError at once when another has it; errors of the system */
  static async take(path: string): Promise<LockFile> {
    for (;;) {
      const file = await open(path, OPEN, OWNER_ONLY);
      try {
        if (await lock(file, path)) {
          // On a full disk nobody is named; the lock holds all the same.
          await sayWhoHolds(file).catch(() => {});
          return new LockFile(path, file);
        }
      } catch (error) {
        await file.close();
        throw error;
      }
      // Its last holder has removed it since it was opened.
      await file.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Before the lock goes: whoever has it open by then finds that it is the file of that name no more.
    await rm(this.path, { force: true }).catch(() => {});
    await this.file.close();
  }
}

/** False when the file that was locked does not have its name any more. */
async function lock(file: FileHandle, path: string): Promise<boolean> {
  const opened = await file.stat({ bigint: true });
  if (!opened.isFile()) throw systemError('EINVAL', `${path} is not a regular file`);
  const result = loadPosix()?.lockByteAloneNow(file.fd, 0) ?? -EOPNOTSUPP;
  if (result === -EAGAIN || result === -EACCES) throw new LockHeldError(path, await readHolder(file));
  if (result < 0) throw systemError(errnoName(-result), `${path} cannot be locked: ${errnoName(-result)}`);
  const named = await lstat(path, { bigint: true }).catch(() => undefined);
  if (named?.ino !== opened.ino || named.dev !== opened.dev) return false;
  // A second name could be that of a file which is not ours to write to.
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
