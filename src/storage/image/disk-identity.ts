import { type BigIntStats, fstatSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { diskId } from '../../base/disk-id.js';
import { SECTOR_BYTES } from '../../base/units.js';
import { readNumber, readSerial, sysfsFolder } from './sysfs.js';
import { countedBetween, readWriteCounters, type WriteCounters } from './write-counters.js';

/**
 * How a disk is recognised after it was not served, and how changes by other programs are noticed. A file has an inode
 * and the times of its last changes. A block device has no such times, but it may have a serial number, and the kernel
 * counts what is written to it.
 */
export interface DiskIdentity {
  readonly kind: 'file' | 'block device';
  /** From `diskId`. */
  readonly id: string;
  /** Size of the disk, which may be smaller than the image. */
  readonly sizeBytes: number;
  readonly imageBytes?: number;
  /** Only for a block device; from `readSerial`. */
  readonly serial?: string;
  /** When the file was created, in nanoseconds since 1970. Writes do not change it; not every file system stores it. */
  readonly madeAt?: string;
  readonly modifiedAt?: string;
  readonly changedAt?: string;
  /** The file's times come from this machine's clock at the moment of a write, so they can be compared with it. */
  readonly localTimes?: boolean;
  readonly counters?: WriteCounters;
}

export interface DiskToIdentify {
  readonly handle: FileHandle;
  /** Size of the disk, which fstat does not report for a block device. */
  readonly sizeBytes: number;
  readonly localTimes: boolean;
  /** As in `ImageFacts`. */
  readonly timesAtOnce: boolean;
}

/** Identifies the open disk, whatever is at its path by now. Rejects as fs.fstat does. */
export async function identifyDisk({
  handle,
  sizeBytes,
  localTimes,
  timesAtOnce,
}: DiskToIdentify): Promise<DiskIdentity> {
  // A thread of the pool makes the call ten times as expensive, which matters when a thousand disks are opened.
  const stats = timesAtOnce ? fstatSync(handle.fd, { bigint: true }) : await handle.stat({ bigint: true });
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

/** When a file was last written, and when it was last altered in any way, in nanoseconds since 1970. */
export type FileTimes = Pick<DiskIdentity, 'modifiedAt' | 'changedAt'>;

/** Reads the times of a file without waiting; undefined if that fails. */
export function fileTimesNow({ fd }: FileHandle): FileTimes | undefined {
  try {
    const { mtimeNs, ctimeNs } = fstatSync(fd, { bigint: true });
    return { modifiedAt: `${mtimeNs}`, changedAt: `${ctimeNs}` };
  } catch {
    return undefined;
  }
}

function timesOf({ birthtimeNs, mtimeNs, ctimeNs }: BigIntStats) {
  const isTold = birthtimeNs !== 0n;
  return { ...(isTold && { madeAt: `${birthtimeNs}` }), modifiedAt: `${mtimeNs}`, changedAt: `${ctimeNs}` };
}

export function isSameDisk(before: DiskIdentity, now: DiskIdentity): boolean {
  return otherDevice(before, now) === undefined;
}

/** Why this is not the same disk as before; undefined if it seems to be the same. */
export function otherDisk(before: DiskIdentity, now: DiskIdentity): string | undefined {
  const other = otherDevice(before, now);
  if (other) return other;
  if (before.sizeBytes === now.sizeBytes) return undefined;
  return `its size changed from ${before.sizeBytes} to ${now.sizeBytes} bytes while it was not served`;
}

function otherDevice(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.kind !== now.kind || before.id !== now.id) return 'another disk is in its place';
  // Device numbers depend on the order in which devices are found.
  if (before.serial !== undefined && now.serial !== undefined && before.serial !== now.serial) {
    return `another disk, ${now.serial}, is in its place`;
  }
  // A file system reuses the inode of a deleted file for the next one.
  if (tellsMaking(before, now) && before.madeAt !== now.madeAt) {
    return `another file, created at ${time(now.madeAt)}, is in its place`;
  }
  return undefined;
}

/** Whether creation times are known. If the system has none, Node reports the time of the last change instead. */
function tellsMaking(...identities: readonly DiskIdentity[]): boolean {
  const isTold = identities.every(({ madeAt }) => madeAt !== undefined);
  return isTold && identities.some(({ madeAt, changedAt }) => madeAt !== changedAt);
}

/** Why the content must have changed since a clean close; undefined if there is no sign of a change. */
export function changedSince(before: DiskIdentity, now: DiskIdentity): string | undefined {
  return otherDisk(before, now) ?? writtenSince(before, now);
}

/** The same, for a disk that is known to be the same disk. */
export function writtenSince(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.modifiedAt !== now.modifiedAt) return `modified at ${time(now.modifiedAt)} while not served`;
  // A restored copy may have the old modification time, but putting it there sets a new change time.
  if (before.changedAt !== now.changedAt) return `replaced or altered at ${time(now.changedAt)} while not served`;
  return countedBetween(before.counters, now.counters);
}

/** Whether the content was written. Other changes, such as a new owner or name, do not count. */
export function isWrittenSince(before: DiskIdentity, now: DiskIdentity): boolean {
  return before.modifiedAt !== now.modifiedAt || countedBetween(before.counters, now.counters) !== undefined;
}

/** When the file was last written or altered, in milliseconds since 1970; undefined if its times cannot be trusted. */
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
