import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { diskId } from '../base/disk-location.js';

/**
 * By what a disk is known again after it was out of sight. For a file that is its inode and the times of its last
 * changes; a block device has no such times, so a change behind our back cannot be seen there.
 */
export interface DiskIdentity {
  readonly kind: 'file' | 'block device';
  /** As `diskId` tells. */
  readonly id: string;
  readonly sizeBytes: number;
  /** Nanoseconds since 1970. */
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
  if (stats.isBlockDevice()) return { kind: 'block device', id, sizeBytes };
  return { kind: 'file', id, sizeBytes, ...timesOf(stats) };
}

function timesOf({ mtimeNs, ctimeNs }: BigIntStats): { modifiedAt: string; changedAt: string } {
  return { modifiedAt: `${mtimeNs}`, changedAt: `${ctimeNs}` };
}

/** Why this is not the disk that it was; undefined when nothing speaks against it. */
export function otherDisk(before: DiskIdentity, now: DiskIdentity): string | undefined {
  if (before.kind !== now.kind || before.id !== now.id) return 'another disk is in its place';
  if (before.sizeBytes !== now.sizeBytes) {
    return `its size changed from ${before.sizeBytes} to ${now.sizeBytes} bytes while it was not served`;
  }
  return undefined;
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
