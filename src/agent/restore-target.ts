import { constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { looksLikeNbdUri } from '../client/nbd-uri.js';
import { Replacement, removeUnfinished } from '../posix/replacement.js';
import { writeFully } from '../posix/write-fully.js';
import { AgentError } from './agent-error.js';
import { takeLock } from './take-lock.js';
import type { RestoreTarget, TargetOptions } from './target-options.js';
import type { ThreadSink } from './threaded-chain-copy.js';
import { writeZeroes } from './write-zeroes.js';

/** @throws AgentError, NbdClientError */
export async function openRestoreTarget(to: string, options: TargetOptions): Promise<RestoreTarget> {
  if (looksLikeNbdUri(to)) {
    // Loaded only when it is needed: the modules of the client take 30 ms.
    const { openNbdTarget } = await import('./nbd-target.js');
    return await openNbdTarget(to, options);
  }
  if (to.endsWith('/')) throw new AgentError(`${to} names a folder, not a file`, 'give a file name in that folder');
  try {
    return (await isBlockDevice(to)) ? await openDevice(to, options) : await openFile(to, options);
  } catch (error) {
    if (error instanceof AgentError || error instanceof CodedError) throw error;
    throw new AgentError(`cannot restore to ${to}: ${(error as Error).message}`, 'fix that, or give another file', {
      cause: error,
    });
  }
}

async function isBlockDevice(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isBlockDevice() ?? false;
}

/** A sparse file, under a temporary name until it is complete. A lock keeps others from restoring to the same name. */
async function openFile(path: string, options: TargetOptions): Promise<RestoreTarget> {
  const folder = dirname(path);
  const found = await stat(folder).catch((error: Error) => {
    if (!isMissing(error)) throw error;
  });
  if (!found) throw new AgentError(`there is no folder ${folder}`, 'make it first');
  await checkReplaceable(path, options);
  const lock = await takeLock(join(dirname(path), `.${basename(path)}.lock`), { path, verb: 'restore to' });
  try {
    // Check again, because the previous holder of the lock may have created the file.
    await checkReplaceable(path, options);
    await removeUnfinished(path);
    const replacement = await Replacement.begin(path);
    const discard = async () => {
      await replacement[Symbol.asyncDispose]();
      await lock[Symbol.asyncDispose]();
    };
    await replacement.file.truncate(options.sizeBytes).catch(async (error) => {
      await discard();
      throw error;
    });
    return {
      isHidden: true,
      write: (offset, data) => writeFully(replacement.file, [data], offset),
      copyInThreads: copyInto(replacement.file),
      zero: () => {},
      async finish() {
        await replacement.commit();
        await lock[Symbol.asyncDispose]();
      },
      discard,
    };
  } catch (error) {
    await lock[Symbol.asyncDispose]();
    throw error;
  }
}

/** Whatever exists, even a dangling link, is replaced only with `force`, and only if it is not in use. */
async function checkReplaceable(path: string, options: TargetOptions): Promise<void> {
  if (!(await lstat(path).catch(() => undefined))) return;
  refuseWithoutForce(path, options);
  const found = await stat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isFile()) {
    throw new AgentError(
      `${path} is neither a file nor a block device`,
      'give a file, a block device or an NBD export',
    );
  }
  await options.checkUnused?.(path);
}

function refuseWithoutForce(path: string, { force }: TargetOptions): void {
  if (!force) throw new AgentError(`${path} is there already`, 'give another file, or overwrite this one with --force');
}

async function openDevice(path: string, options: TargetOptions): Promise<RestoreTarget> {
  refuseWithoutForce(path, options);
  await options.checkUnused?.(path);
  const file = await openUnused(path);
  try {
    if (!(await file.stat()).isBlockDevice()) {
      throw new AgentError(`${path} was a block device and is not one any more`, 'find out which program replaced it');
    }
    // Reading the last byte shows whether the device is large enough.
    const { bytesRead } = await file.read(Buffer.alloc(1), 0, 1, options.sizeBytes - 1);
    if (bytesRead === 0) {
      const message = `${path} is smaller than the disk, ${options.sizeBytes} bytes`;
      throw new AgentError(message, 'give a larger device');
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  const write = (offset: number, data: Buffer) => writeFully(file, [data], offset);
  return {
    isHidden: false,
    write,
    copyInThreads: copyInto(file),
    zero: (offset, length) => writeZeroes(write, offset, length),
    async finish() {
      await file.sync();
      await file.close();
    },
    discard: () => file.close(),
  };
}

/**
 * With O_EXCL the kernel refuses a device that is mounted or claimed, also by another restore, and claims it for us.
 */
async function openUnused(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_EXCL | constants.O_NONBLOCK;
  return await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EBUSY') throw error;
    const hint = 'unmount it, or wait until the restore or the server that has it open has ended';
    throw new CodedError('IMAGE_LOCKED', `the block device ${path} is in use`, hint, { cause: error });
  });
}

function copyInto(file: FileHandle): ThreadSink['copyInThreads'] {
  return async (threads, parts) => {
    await threads.copyToDisk(parts, file.fd);
    return () => {};
  };
}
