import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { diskId } from '../../base/disk-location.js';
import { SECTOR_BYTES } from '../../base/units.js';
import { readNumber, readSerial, sysfsFolder } from './sysfs.js';
import { countedBetween, readWriteCounters, type WriteCounters } from './write-counters.js';

/**
 * How a disk is recognised after it was out of sight, and how a change behind our back shows. A file has its inode and
 * the times of its last changes. A block device has no such times, but perhaps a serial number, and the kernel counts
 * what is written to it.
 */
export interface DiskIdentity {
  readonly kind: 'file' | 'block device';
  /** As `diskId` tells. */
  readonly id: string;
  /** Of the disk, which may be smaller than the image. */
  readonly sizeBytes: number;
  readonly imageBytes?: number;
  /** Of a block device, as `readSerial` tells. */
  readonly serial?: string;
  /** When the file was made, which stays while it is written; not every file system tells. In nanoseconds since 1970. */
  readonly madeAt?: string;
  readonly modifiedAt?: string;
  readonly changedAt?: string;
  /** This machine's clock gives the file its times, when it is written; so they can be compared with that clock. */
  readonly localTimes?: boolean;
  readonly counters?: WriteCounters;
}

export interface DiskToIdentify {
  readonly handle: FileHandle;
  /** Of the disk; fstat does not tell it for a block device. */
  readonly sizeBytes: number;
  readonly localTimes: boolean;
}

/** Identifies the disk that is open, whatever lies at its path by now. Rejects as fs.fstat does. */
export async function identifyDisk({ handle, sizeBytes, localTimes }: DiskToIdentify): Promise<DiskIdentity> {
  const stats = await handle.stat({ bigint: true });
  const id = diskId(stats);
  if (!stats.isBlockDevice()) {
    const imageBytes = Number(stats.size);
    return { kind: 'file', id, sizeBytes, imageBytes, ...timesOf(stats), ...(localTimes && { localTimes }) };
  }
  const folder = sysfsFolder(stats.rdev);
  const [sectors, serial, counters] = await Promise.all([
    readNumber(`${folder}/size`),
    readSerial(folder),
    readWriteCounters(folder),
  ]);
  return {
    kind: 'block device',
    id,
    sizeBytes,
    ...(sectors !== undefined && { imageBytes: sectors * SECTOR_BYTES }),
    ...(serial !== undefined && { serial }),
    ...(counters && { counters }),
  };
}

function timesOf({ birthtimeNs, mtimeNs, ctimeNs }: BigIntStats) {
  const isTold = birthtimeNs !== 0n;
  return { ...(isTold && { madeAt: `${birthtimeNs}` }), modifiedAt: `${mtimeNs}`, changedAt: `${ctimeNs}` };
}

export function isSameDisk(before: DiskIdentity, now: DiskIdentity): boolean {
  return otherDevice(before, now) === undefined;
}

/** Why this is not the disk that it was; undefined when nothing speaks against it. */
export function otherDisk(before: DiskIdentity, now: DiskIdentity): string | undefined {
  const other = otherDevice(before, now);
  if (other) return other;
  if (before.sizeBytes === now.sizeBytes) return undefined;
  return `its size changed from ${before.sizeBytes} to ${now.sizeBytes} bytes while it was not served`;
}

function otherDevice(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.kind !== now.kind || before.id !== now.id) return 'another disk is in its place';
  // Numbers of devices are given in the order in which they are found.
  if (before.serial !== undefined && now.serial !== undefined && before.serial !== now.serial) {
    return `another disk, ${now.serial}, is in its place`;
  }
  // A file system gives the inode of a file that went to the next one.
  if (tellsMaking(before, now) && before.madeAt !== now.madeAt) {
    return `another file, made at ${time(now.madeAt)}, is in its place`;
  }
  return undefined;
}

/** Where the system tells Node no time of making, Node gives that of the last change for it, each time. */
function tellsMaking(...identities: readonly DiskIdentity[]): boolean {
  const isTold = identities.every(({ madeAt }) => madeAt !== undefined);
  return isTold && identities.some(({ madeAt, changedAt }) => madeAt !== changedAt);
}

/** Why the content cannot be what it was at a clean close; undefined when nothing speaks against it. */
export function changedSince(before: DiskIdentity, now: DiskIdentity): string | undefined {
  return otherDisk(before, now) ?? writtenSince(before, now);
}

/** The same of a disk that is known to be the one it was. */
export function writtenSince(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.modifiedAt !== now.modifiedAt) return `modified at ${time(now.modifiedAt)} while not served`;
  // A restored copy may carry the old time of modification; that it was put there shows here.
  if (before.changedAt !== now.changedAt) return `replaced or altered at ${time(now.changedAt)} while not served`;
  return countedBetween(before.counters, now.counters);
}

/** Whether the content was written, whatever else was done to the disk: it may have got another owner or name. */
export function isWrittenSince(before: DiskIdentity, now: DiskIdentity): boolean {
  return before.modifiedAt !== now.modifiedAt || countedBetween(before.counters, now.counters) !== undefined;
}

/** When the file was last written or altered, in milliseconds since 1970; undefined where the times tell nothing. */
export function lastChangeOf({ localTimes, modifiedAt, changedAt }: DiskIdentity): number | undefined {
  if (!localTimes) return undefined;
  return Math.max(milliseconds(modifiedAt), milliseconds(changedAt));
}

export function lastWriteOf({ localTimes, modifiedAt }: DiskIdentity): number | undefined {
  return localTimes ? milliseconds(modifiedAt) : undefined;
}

function milliseconds(nanoseconds: string | undefined): number {
  return Number(BigInt(nanoseconds ?? 0) / 1_000_000n);
}

function time(nanoseconds: string | undefined): string {
  return new Date(milliseconds(nanoseconds)).toISOString();
}
