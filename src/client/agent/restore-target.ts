import { constants } from 'node:fs';
import { type FileHandle, open, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CodedError } from '../../base/coded-error.js';
import { GIB, MIB } from '../../base/units.js';
import { NbdUnsupportedError } from '../errors.js';
import { NbdClient } from '../nbd-client.js';
import { looksLikeNbdUri } from '../nbd-uri.js';
import { AgentError } from './agent-error.js';
import type { DiskSink } from './copy-chain.js';
import { renameDurably } from './durable-files.js';

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
}

/** Disks hold whatever their users keep private. */
const FILE_MODE = 0o600;

const ZEROES = Buffer.alloc(MIB);

/** @throws AgentError, NbdClientError */
export async function openRestoreTarget(to: string, options: TargetOptions): Promise<RestoreTarget> {
  if (looksLikeNbdUri(to)) return await openNbdTarget(to, options);
  try {
    const found = await stat(to).catch(() => undefined);
    if (found && !options.force) {
      const hint = 'name another file, or overwrite this one with --force';
      throw new AgentError(`${to} is there already`, hint);
    }
    if (found && !found.isFile() && !found.isBlockDevice()) {
      throw new AgentError(`${to} is neither a file nor a block device`, 'name a file, a device, or an NBD export');
    }
    if (found) await options.checkUnused?.(to);
    return found?.isBlockDevice() ? await openDevice(to, options) : await createFile(to, options);
  } catch (error) {
    if (error instanceof AgentError || error instanceof CodedError) throw error;
    throw new AgentError(`cannot restore to ${to}: ${(error as Error).message}`, 'name another file', { cause: error });
  }
}

/** A sparse file, under another name until it is complete. */
async function createFile(path: string, { sizeBytes }: TargetOptions): Promise<RestoreTarget> {
  const partial = join(dirname(path), `.${basename(path)}.partial`);
  const file = await open(partial, 'w', FILE_MODE);
  const discard = async () => {
    await file.close().catch(() => {});
    await rm(partial, { force: true });
  };
  await file.truncate(sizeBytes).catch(async (error) => {
    await discard();
    throw error;
  });
  return {
    write: (offset, data) => writeFully(file, offset, data),
    zero: () => {},
    async finish() {
      await file.sync();
      await file.close();
      await renameDurably(partial, path);
    },
    discard,
  };
}

async function openDevice(path: string, { sizeBytes }: TargetOptions): Promise<RestoreTarget> {
  // The kernel refuses one that is mounted or has another who wants it for himself.
  const file = await open(path, constants.O_RDWR | constants.O_EXCL);
  // The end of a block device is where reading ends.
  const { bytesRead } = await file.read(Buffer.alloc(1), 0, 1, sizeBytes - 1);
  if (bytesRead === 0) {
    await file.close();
    throw new AgentError(`${path} is smaller than the disk, ${sizeBytes} bytes`, 'name a larger device');
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

async function openNbdTarget(uri: string, { sizeBytes }: TargetOptions): Promise<RestoreTarget> {
  const client = await NbdClient.connect(uri);
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
