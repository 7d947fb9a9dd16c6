import { stat } from 'node:fs/promises';
import { diskId } from '../../base/disk-location.js';
import { formatSize, SECTOR_BYTES } from '../../base/units.js';
import { readBootId } from '../../posix/find-disk.js';
import { readAttribute, readNumber } from './sysfs.js';

/**
 * How much was written to a block device, as the kernel counts it, whoever writes. The numbers only tell something within
 * one boot of the machine and one life of the device: a device that is attached again begins at 0.
 */
export interface WriteCounters {
  readonly bootId: string;
  /** A number that no other disk had since the machine was started. */
  readonly diskSequence: number;
  readonly writtenSectors: number;
  readonly discardedSectors: number;
  /** Of a loop device: the file that it shows, and when that was last written, whichever way. */
  readonly shownFile?: string;
}

/** Fields of /sys/dev/block/M:N/stat, from 0 (Documentation/block/stat.rst). */
const WRITTEN_SECTORS = 6;
const DISCARDED_SECTORS = 13;

/** Of the block device in this folder of sysfs; undefined where the kernel does not count. */
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
  return { bootId, diskSequence, ...counted, ...(shownFile !== undefined && { shownFile }) };
}

/** Undefined where it cannot be seen, or the device shows a part of it, so that others may write the rest. */
async function readShownFile(folder: string): Promise<string | undefined> {
  const [path, offset, limit] = await Promise.all([
    readAttribute(`${folder}/loop/backing_file`),
    readNumber(`${folder}/loop/offset`),
    readNumber(`${folder}/loop/sizelimit`),
  ]);
  if (path === undefined || offset !== 0 || limit !== 0) return undefined;
  // The kernel tells the path that the file has now, so it is no other file.
  const stats = await stat(path, { bigint: true }).catch(() => undefined);
  return stats?.isFile() ? `${diskId(stats)}, ${stats.mtimeNs}` : undefined;
}

/** Sectors, not requests: a request counts as one only after whoever waits for it was told that it is done. */
async function readCounts(folder: string) {
  const fields = (await readAttribute(`${folder}/stat`))?.split(/\s+/).map(Number);
  if (!fields || fields.length <= WRITTEN_SECTORS) return undefined;
  return { writtenSectors: fields[WRITTEN_SECTORS]!, discardedSectors: fields[DISCARDED_SECTORS] ?? 0 };
}

/** Whether the two can be compared: both are of one boot and of one life of the device. */
export function isSameCount(a: WriteCounters | undefined, b: WriteCounters | undefined): boolean {
  return a !== undefined && b !== undefined && a.bootId === b.bootId && a.diskSequence === b.diskSequence;
}

/** What was written from one moment to the other; undefined when nothing was, or it is not counted. */
export function countedBetween(before: WriteCounters | undefined, now: WriteCounters | undefined): string | undefined {
  if (!before || !now || !isSameCount(before, now)) return undefined;
  const sectors = now.writtenSectors - before.writtenSectors + now.discardedSectors - before.discardedSectors;
  if (sectors < 0) return 'the kernel counts less that was written to it than before';
  if (sectors > 0) return `written while not served: ${formatSize(sectors * SECTOR_BYTES)}, as the kernel counts`;
  const isShown = before.shownFile !== undefined && now.shownFile !== undefined;
  return isShown && before.shownFile !== now.shownFile ? 'the file that it shows was written by itself' : undefined;
}
