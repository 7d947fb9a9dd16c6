import { constants } from 'node:fs';
import { type FileHandle, lstat, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../base/coded-error.js';
import { GIB, MIB } from '../base/units.js';
import { NbdUnsupportedError } from '../client/errors.js';
import { NbdClient } from '../client/nbd-client.js';
import { looksLikeNbdUri } from '../client/nbd-uri.js';
import { Replacement, removeUnfinished } from '../posix/replacement.js';
import { AgentError } from './agent-error.js';
import type { DiskSink } from './copy-chain.js';
import { takeLock } from './take-lock.js';

/** A disk that is being restored. */
export interface RestoreTarget extends DiskSink {
  /** Makes it durable; only now a file has its name. */
  finish(): Promise<void>;
  /** Gives up, and removes a file that was begun. */
  discard(): Promise<void>;
}

export interface TargetOptions {
  readonly sizeBytes: number;
  /** Whether a file or a device that is there may be overwritten. */
  readonly force: boolean;
  /** Rejects when somebody uses the file or device that is there, so that it had better not be overwritten. */
  readonly checkUnused?: ((path: string) => Promise<void>) | undefined;
  /** Ends the connection to an NBD server, whatever it waits for. */
  readonly signal?: AbortSignal | undefined;
}

const ZEROES = Buffer.alloc(MIB);

/** @throws AgentError, NbdClientError */
export async function openRestoreTarget(to: string, options: TargetOptions): Promise<RestoreTarget> {
  if (looksLikeNbdUri(to)) return await openNbdTarget(to, options);
  if (to.endsWith('/')) throw new AgentError(`${to} names a folder, not a file`, 'name the file in it');
  try {
    return (await isBlockDevice(to)) ? await openDevice(to, options) : await openFile(to, options);
  } catch (error) {
    if (error instanceof AgentError || error instanceof CodedError) throw error;
    throw new AgentError(`cannot restore to ${to}: ${(error as Error).message}`, 'name another file', { cause: error });
  }
}

async function isBlockDevice(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isBlockDevice() ?? false;
}

/** A sparse file, under another name until it is complete. Nobody else restores to the same name meanwhile. */
async function openFile(path: string, options: TargetOptions): Promise<RestoreTarget> {
  const folder = dirname(path);
  if (!(await stat(folder).catch(isMissing))) throw new AgentError(`there is no folder ${folder}`, 'make it first');
  await checkReplaceable(path, options);
  const lock = await takeLock(join(dirname(path), `.${basename(path)}.lock`), { path, verb: 'restore to' });
  try {
    // Once more: whoever had the lock before may have put something there.
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
      write: (offset, data) => writeFully(replacement.file, offset, data),
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

function isMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

/** What is there, a link that leads nowhere too, is replaced only by force, and when nobody uses it. */
async function checkReplaceable(path: string, options: TargetOptions): Promise<void> {
  if (!(await lstat(path).catch(() => undefined))) return;
  refuseWithoutForce(path, options);
  const found = await stat(path).catch(() => undefined);
  if (!found) return;
  if (!found.isFile()) {
    throw new AgentError(`${path} is neither a file nor a block device`, 'name a file, a device, or an NBD export');
  }
  await options.checkUnused?.(path);
}

function refuseWithoutForce(path: string, { force }: TargetOptions): void {
  if (!force) throw new AgentError(`${path} is there already`, 'name another file, or overwrite this one with --force');
}

async function openDevice(path: string, options: TargetOptions): Promise<RestoreTarget> {
  refuseWithoutForce(path, options);
  await options.checkUnused?.(path);
  const file = await openUnused(path);
  try {
    if (!(await file.stat()).isBlockDevice()) {
      throw new AgentError(`${path} is not the block device any more that it was`, 'see who changes it');
    }
    // The end of a block device is where reading ends.
    const { bytesRead } = await file.read(Buffer.alloc(1), 0, 1, options.sizeBytes - 1);
    if (bytesRead === 0) {
      const message = `${path} is smaller than the disk, ${options.sizeBytes} bytes`;
      throw new AgentError(message, 'name a larger device');
    }
  } catch (error) {
    await file.close();
    throw error;
  }
  const write = (offset: number, data: Buffer) => writeFully(file, offset, data);
  return {
    write,
    zero: (offset, length) => writeZeroes(write, offset, length),
    async finish() {
      await file.sync();
      await file.close();
    },
    discard: () => file.close(),
  };
}

/** O_EXCL: the kernel refuses a device that is mounted or claimed, by another restore too, and claims it for us. */
async function openUnused(path: string): Promise<FileHandle> {
  const flags = constants.O_RDWR | constants.O_EXCL | constants.O_NONBLOCK;
  return await open(path, flags).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EBUSY') throw error;
    const hint = 'unmount it, or wait until the restore or the server that has it open has ended';
    throw new CodedError('IMAGE_LOCKED', `the block device ${path} is in use`, hint, { cause: error });
  });
}

async function openNbdTarget(uri: string, { sizeBytes, signal }: TargetOptions): Promise<RestoreTarget> {
  const client = await NbdClient.connect(uri, { signal });
  const { features } = client;
  try {
    if (features.readOnly) throw new NbdUnsupportedError(`${uri} is read-only`, 'serve it writable');
    if (client.sizeBytes < sizeBytes) {
      throw new AgentError(`${uri} has ${client.sizeBytes} bytes, and the disk ${sizeBytes}`, 'name a larger export');
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

async function writeZeroes(write: DiskSink['write'], offset: number, length: number): Promise<void> {
  for (let at = 0; at < length; at += ZEROES.length) {
    await write(offset + at, ZEROES.subarray(0, Math.min(ZEROES.length, length - at)));
  }
}

async function writeFully(file: FileHandle, offset: number, data: Buffer): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await file.write(data, done, data.length - done, offset + done);
    done += bytesWritten;
  }
}
