import type { BigIntStats } from 'node:fs';
import { type FileHandle, statfs } from 'node:fs/promises';
import { KIB, SECTOR_BYTES } from '../../base/units.js';
import { fileSystemOf } from '../file/disk-threads.js';
import type { ZeroingFacts } from '../file/file-zeroer.js';
import { readNumber, sysfsFolder } from './sysfs.js';
import type { CountingFacts } from './write-counters.js';

const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

/**
 * Types of file systems (statfs(2)) that set a file's times from this machine's clock, at the moment of write(2). A
 * network file system uses another clock, or sets the times when data is written back.
 */
const TIMED_BY_US = new Set([
  TMPFS_MAGIC,
  RAMFS_MAGIC,
  0xef53, // ext2, ext3, ext4
  0x58465342, // XFS
  0x9123683e, // Btrfs
  0xf2f52010, // F2FS
  0xca451a4e, // bcachefs
  0x794c7630, // overlayfs
]);

/** A file system of these may ask another one, possibly over the network, when the times of a file are read. */
const STACKED = new Set([0x794c7630]);

/** Facts about an open image and the storage under it. */
export interface ImageFacts extends ZeroingFacts {
  readonly kind: 'file' | 'block device';
  readonly sizeBytes: number;
  /** As in `ImageFile`. */
  readonly endsWithin?: number;
  /** The image is in memory (tmpfs, ramfs). */
  readonly inMemory: boolean;
  readonly rotational: boolean;
  /** Images with the same value are on the same file system or device, and are likely to hang together. */
  readonly fileSystem: string;
  /** As in `DiskIdentity`. */
  readonly localTimes: boolean;
  /** The kernel has the times of the open file in memory, so that reading them never waits for a disk. */
  readonly timesAtOnce: boolean;
  /** Only for a block device. */
  readonly counting?: CountingFacts;
}

/** Undefined if it is neither a regular file nor a block device, or a block device that /sys does not list. */
export async function factsOf(handle: FileHandle, path: string): Promise<ImageFacts | undefined> {
  const stats = await handle.stat({ bigint: true });
  if (stats.isFile()) return factsOfFile(stats, path);
  if (stats.isBlockDevice()) return factsOfBlockDevice(stats);
  return undefined;
}

async function factsOfFile(stats: BigIntStats, path: string): Promise<ImageFacts> {
  const fileSystem = await statfs(path);
  return {
    kind: 'file',
    sizeBytes: Number(stats.size),
    fileSystem: fileSystemOf(stats.dev),
    inMemory: fileSystem.type === TMPFS_MAGIC || fileSystem.type === RAMFS_MAGIC,
    rotational: await isOnRotational(stats.dev),
    localTimes: TIMED_BY_US.has(fileSystem.type),
    timesAtOnce: TIMED_BY_US.has(fileSystem.type) && !STACKED.has(fileSystem.type),
    alignmentBytes: 1,
    // Only a trial shows what the file system supports. A trial changes the file's times, so it waits for the first
    // use.
    mayPunch: true,
  };
}

/** By the number of a file system, because many exports are on the same few. The answer is only a hint to clients. */
const rotational = new Map<bigint, Promise<boolean>>();

/** Whether a file system is on a device that rotates. */
function isOnRotational(device: bigint): Promise<boolean> {
  const known = rotational.get(device) ?? queueNumber(device, 'rotational').then((value) => value === 1);
  rotational.set(device, known);
  return known;
}

async function factsOfBlockDevice(stats: BigIntStats): Promise<ImageFacts | undefined> {
  const folder = sysfsFolder(stats.rdev);
  const sectors = await readNumber(`${folder}/size`);
  if (sectors === undefined) return undefined;
  const sizeBytes = sectors * SECTOR_BYTES;
  const blockBytes = (await queueNumber(stats.rdev, 'logical_block_size')) ?? SECTOR_BYTES;
  const isPartition = (await readNumber(`${folder}/partition`)) !== undefined;
  const requestBytes = ((await queueNumber(stats.rdev, 'max_sectors_kb')) ?? 0) * KIB;
  return {
    kind: 'block device',
    sizeBytes,
    fileSystem: `device ${stats.rdev}`,
    inMemory: false,
    rotational: (await queueNumber(stats.rdev, 'rotational')) === 1,
    localTimes: false,
    timesAtOnce: false,
    alignmentBytes: blockBytes,
    mayPunch: ((await queueNumber(stats.rdev, 'write_zeroes_max_bytes')) ?? 0) > 0,
    counting: { blockBytes, ...(isPartition && { partition: { sizeBytes, requestBytes } }) },
  };
}

/** A property of the device's request queue. A partition uses the queue of its disk, one folder up. */
async function queueNumber(device: bigint, name: string): Promise<number | undefined> {
  const folder = sysfsFolder(device);
  return (await readNumber(`${folder}/queue/${name}`)) ?? (await readNumber(`${folder}/../queue/${name}`));
}
