import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { diskId } from '../base/disk-location.js';
import { readSerial, sysfsFolder } from './sysfs.js';

/**
 * By what a disk is known again after it was out of sight. For a file that is its inode and the times of its last
 * changes; a block device has no such times, so a change behind our back cannot be seen there, but perhaps a serial number.
 */
export interface DiskIdentity {
  readonly kind: 'file' | 'block device';
  /** As `diskId` tells. */
  readonly id: string;
  readonly sizeBytes: number;
  /** Of a block device, as `readSerial` tells. */
  readonly serial?: string;
  /** When the file was made, which stays while it is written; not every file system tells. In nanoseconds since 1970. */
  readonly madeAt?: string;
  readonly modifiedAt?: string;
  readonly changedAt?: string;
}

/**
 * Identifies the disk that is open, whatever lies at its path by now. Rejects as fs.fstat does. `sizeBytes` is the disk's,
 * which fstat does not tell of a block device.
 */
export async function identifyDisk(handle: FileHandle, sizeBytes: number): Promise<DiskIdentity> {
  const stats = await handle.stat({ bigint: true });
  const id = diskId(stats);
  if (stats.isBlockDevice()) {
    const serial = await readSerial(sysfsFolder(stats.rdev));
    return { kind: 'block device', id, sizeBytes, ...(serial !== undefined && { serial }) };
  }
  return { kind: 'file', id, sizeBytes, ...timesOf(stats) };
}

function timesOf({ birthtimeNs, mtimeNs, ctimeNs }: BigIntStats) {
  const isTold = birthtimeNs !== 0n;
  return { ...(isTold && { madeAt: `${birthtimeNs}` }), modifiedAt: `${mtimeNs}`, changedAt: `${ctimeNs}` };
}

/** Why this is not the disk that it was; undefined when nothing speaks against it. */
export function otherDisk(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.kind !== now.kind || before.id !== now.id) return 'another disk is in its place';
  // Numbers of devices are given in the order in which they are found.
  if (before.serial !== undefined && now.serial !== undefined && before.serial !== now.serial) {
    return `another disk, ${now.serial}, is in its place`;
  }
  // A file system gives the inode of a file that went to the next one.
  if (tellsMaking(before, now) && before.madeAt !== now.madeAt) {
    return `another file, made at ${time(now.madeAt)}, is in its place`;
  }
  if (before.sizeBytes !== now.sizeBytes) {
    return `its size changed from ${before.sizeBytes} to ${now.sizeBytes} bytes while it was not served`;
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
  const other = otherDisk(before, now);
  if (other) return other;
  if (before.modifiedAt !== now.modifiedAt) return `modified at ${time(now.modifiedAt)} while not served`;
  // A restored copy may carry the old time of modification; that it was put there shows here.
  if (before.changedAt !== now.changedAt) return `replaced or altered at ${time(now.changedAt)} while not served`;
  return undefined;
}

function time(nanoseconds: string | undefined): string {
  return new Date(Number(BigInt(nanoseconds ?? 0) / 1_000_000n)).toISOString();
}
