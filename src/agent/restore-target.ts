import { constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { isMissing } from '../base/errno.js';
import { GIB, MIB } from '../base/units.js';
import { NbdUnsupportedError } from '../client/errors.js';
import { looksLikeNbdUri } from '../client/nbd-uri.js';
import { Replacement, removeUnfinished } from '../posix/replacement.js';
import { writeFully } from '../posix/write-fully.js';
import { AgentError } from './agent-error.js';
import { takeLock } from './take-lock.js';
import type { DiskSink, ThreadSink } from './threaded-chain-copy.js';

/** The destination of a restore. */
export interface RestoreTarget extends DiskSink {
  /** Whether what is written comes into sight only with `finish`, and `discard` leaves what was there before. */
  readonly isHidden: boolean;
  /** Makes the disk durable. A file gets its name only now. */
  finish(): Promise<void>;
  /** Gives up, and removes an unfinished file. */
  discard(): Promise<void>;
}

export interface TargetOptions {
  readonly sizeBytes: number;
  /** Whether an existing file or a device may be overwritten. */
  readonly force: boolean;
  /** Rejects if the existing file or device is in use. */
  readonly checkUnused?: ((path: string) => Promise<void>) | undefined;
  /** Aborting it ends the connection to an NBD server at once. */
  readonly signal?: AbortSignal | undefined;
}

const ZEROES = Buffer.alloc(MIB);

/** @throws AgentError, NbdClientError */
export async function openRestoreTarget(to: string, options: TargetOptions): Promise<RestoreTarget> {
  if (looksLikeNbdUri(to)) return await openNbdTarget(to, options);
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

async function openNbdTarget(uri: string, { sizeBytes, signal }: TargetOptions): Promise<RestoreTarget> {
  // Loaded only when it is needed: its modules take 30 ms.
  const { NbdClient } = await import('../client/nbd-client.js');
  const client = await NbdClient.connect(uri, { signal });
  const { features } = client;
  try {
    if (features.readOnly) throw new NbdUnsupportedError(`${uri} is read-only`, 'serve it writable');
    if (client.sizeBytes < sizeBytes) {
      throw new AgentError(`${uri} has ${client.sizeBytes} bytes, and the disk ${sizeBytes}`, 'give a larger export');
    }
  } catch (error) {
    await client.disconnect();
    throw error;
  }
  const { maximum } = client.blockSizes;
  const write = async (offset: number, data: Buffer) => {
    const pieces: Promise<void>[] = [];
    for (let at = 0; at < data.length; at += maximum) {
      pieces.push(client.write(offset + at, data.subarray(at, at + maximum)));
    }
    await Promise.all(pieces);
  };
  return {
    isHidden: false,
    write,
    async zero(offset, length) {
      if (!features.zero) return await writeZeroes(write, offset, length);
      for (let at = offset; at < offset + length; at += GIB) await client.zero(at, Math.min(GIB, offset + length - at));
    },
    async finish() {
      if (features.flush) await client.flush();
      await client.disconnect();
    },
    async discard() {
      client.abort();
    },
  };
}

function copyInto(file: FileHandle): ThreadSink['copyInThreads'] {
  return async (threads, parts) => {
    await threads.copyToDisk(parts, file.fd);
    return () => {};
  };
}

async function writeZeroes(write: DiskSink['write'], offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += ZEROES.length) {
    await write(offset + at, ZEROES.subarray(0, Math.min(ZEROES.length, length - at)));
  }
}
