import { readBootId } from '../base/disk-location.js';
import { SECTOR_BYTES } from '../base/units.js';
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
}

/** Fields of /sys/dev/block/M:N/stat, from 0 (Documentation/block/stat.rst). */
const WRITTEN_SECTORS = 6;
const DISCARDED_SECTORS = 13;

/** Of the block device in this folder of sysfs; undefined where the kernel does not count. */
export async function readWriteCounters(folder: string): Promise<WriteCounters | undefined> {
  const isPartition = (await readNumber(`${folder}/partition`)) !== undefined;
  const disk = isPartition ? `${folder}/..` : folder;
  const [bootId, diskSequence, isCounting, counted] = await Promise.all([
    readBootId(),
    readNumber(`${disk}/diskseq`),
    readNumber(`${disk}/queue/iostats`),
    readCounts(folder),
  ]);
  if (bootId === undefined || diskSequence === undefined || isCounting !== 1 || !counted) return undefined;
  return { bootId, diskSequence, ...counted };
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

/** Bytes that were written or discarded from one moment to the other. */
export function bytesBetween(before: WriteCounters, now: WriteCounters): number {
  const sectors = now.writtenSectors - before.writtenSectors + now.discardedSectors - before.discardedSectors;
  return sectors * SECTOR_BYTES;
}
