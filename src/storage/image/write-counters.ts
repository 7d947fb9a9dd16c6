import { stat } from 'node:fs/promises';
import { diskId } from '../../base/disk-id.js';
import { formatSize, SECTOR_BYTES } from '../../base/units.js';
import { readBootId } from '../../posix/find-disk.js';
import { readAttribute, readNumber } from './sysfs.js';

/**
 * The kernel's count of what all programs wrote to a block device. Counts can only be compared within one boot of the
 * machine, and while the device stays attached: a device that is attached again starts at 0.
 */
export interface WriteCounters {
  readonly bootId: string;
  /** A number that no other disk has had since the machine was booted. */
  readonly diskSequence: number;
  readonly writtenSectors: number;
  readonly discardedSectors: number;
  /** Only for a loop device: its backing file, and when that file was last written by any means. */
  readonly shownFile?: string;
  /** The kernel may have counted a write at a border of this partition for the neighbouring one. */
  readonly hasBorders?: boolean;
}

/** What decides how many sectors the kernel counts for a write to a block device. */
export interface CountingFacts {
  /** The smallest unit that the device can write. */
  readonly blockBytes: number;
  /**
   * Only for a partition. The kernel joins writes on both sides of the border between two partitions, and counts such a
   * request, of up to `requestBytes`, for one of them.
   */
  readonly partition?: { readonly sizeBytes: number; readonly requestBytes: number };
}

/** Indexes of fields in /sys/dev/block/M:N/stat (Documentation/block/stat.rst). */
const WRITTEN_SECTORS = 6;
const DISCARDED_SECTORS = 13;

/** Reads the counters of the block device in this sysfs folder; undefined if the kernel does not count. */
export async function readWriteCounters(folder: string): Promise<WriteCounters | undefined> {
  const isPartition = (await readNumber(`${folder}/partition`)) !== undefined;
  const disk = isPartition ? `${folder}/..` : folder;
  const [bootId, diskSequence, isCounting, counted, shownFile] = await Promise.all([
    readBootId(),
    readNumber(`${disk}/diskseq`),
    readNumber(`${disk}/queue/iostats`),
    readCounts(folder),
    readShownFile(folder),
  ]);
  if (bootId === undefined || diskSequence === undefined || isCounting !== 1 || !counted) return undefined;
  return {
    bootId,
    diskSequence,
    ...counted,
    ...(shownFile !== undefined && { shownFile }),
    ...(isPartition && { hasBorders: true }),
  };
}

/** Undefined if it is not visible, or if the device covers only a part of it, because the rest may change freely. */
async function readShownFile(folder: string): Promise<string | undefined> {
  const [path, offset, limit] = await Promise.all([
    readAttribute(`${folder}/loop/backing_file`),
    readNumber(`${folder}/loop/offset`),
    readNumber(`${folder}/loop/sizelimit`),
  ]);
  if (path === undefined || offset !== 0 || limit !== 0) return undefined;
  // The kernel reports the current path of the file, so this cannot be another file.
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats?.isFile() ? `${diskId(stats)}, ${stats.mtimeNs}` : undefined;
}

/** Uses sectors instead of requests, because a request is counted only after its submitter has been notified. */
async function readCounts(folder: string) {
  const fields = (await readAttribute(`${folder}/stat`))?.split(/\s+/).map(Number);
  if (!fields || fields.length <= WRITTEN_SECTORS) return undefined;
  return { writtenSectors: fields[WRITTEN_SECTORS]!, discardedSectors: fields[DISCARDED_SECTORS] ?? 0 };
}

export function countedSectors({ writtenSectors, discardedSectors }: WriteCounters): number {
  return writtenSectors + discardedSectors;
}

/** Whether the counts can be compared: same boot, and the device stayed attached. */
export function isSameCount(a: WriteCounters | undefined, b: WriteCounters | undefined): boolean {
  return a !== undefined && b !== undefined && a.bootId === b.bootId && a.diskSequence === b.diskSequence;
}

/** What was written between two readings; undefined if nothing was, or if it was not counted. */
export function countedBetween(before: WriteCounters | undefined, now: WriteCounters | undefined): string | undefined {
  if (!before || !now || !isSameCount(before, now)) return undefined;
  const sectors = countedSectors(now) - countedSectors(before);
  if (sectors < 0) return "the kernel's count of what was written to it went down";
  if (sectors > 0) return `written while not served: ${formatSize(sectors * SECTOR_BYTES)} by the kernel's count`;
  const isShown = before.shownFile !== undefined && now.shownFile !== undefined;
  return isShown && before.shownFile !== now.shownFile ? 'the file that it shows was written by itself' : undefined;
}
