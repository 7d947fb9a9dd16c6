import { createHash } from 'node:crypto';
import { OK } from '../../base/errno.js';
import { KIB, MIB } from '../../base/units.js';
import type { BlockDevice } from '../device/block-device.js';

/**
 * Size of each end of the disk. File systems (ext4, XFS, Btrfs), volume managers (LVM, MD, ZFS) and partition tables
 * keep data there that changes whenever they are used.
 */
const END_BYTES = MIB;
const SAMPLES = 256;
const SAMPLE_BYTES = 4 * KIB;
const READS_AT_A_TIME = 16;

/**
 * A checksum of the places that are most likely to change when a disk is used: both ends, and evenly spaced blocks. It
 * says nothing about the rest of the disk. Undefined if a place cannot be read.
 */
export async function witnessOf(device: BlockDevice): Promise<string | undefined> {
  const hash = createHash('sha256');
  const places = placesOf(device.sizeBytes);
  for (let first = 0; first < places.length; first += READS_AT_A_TIME) {
    const parts = await Promise.all(
      places.slice(first, first + READS_AT_A_TIME).map((place) => readPart(device, place)),
    );
    for (const part of parts) {
      if (!part) return undefined;
      hash.update(part);
    }
  }
  return hash.digest('hex');
}

interface Place {
  readonly offset: number;
  readonly length: number;
}

function placesOf(sizeBytes: number): Place[] {
  const endBytes = Math.min(END_BYTES, sizeBytes);
  const ends = [0, sizeBytes - endBytes].map((offset) => ({ offset, length: endBytes }));
  const distance = Math.floor(sizeBytes / SAMPLES / SAMPLE_BYTES) * SAMPLE_BYTES;
  if (distance === 0) return ends;
  return [...ends, ...Array.from({ length: SAMPLES }, (_, i) => ({ offset: i * distance, length: SAMPLE_BYTES }))];
}

async function readPart(device: BlockDevice, { offset, length }: Place): Promise<Buffer | undefined> {
  const part = Buffer.alloc(length);
  return (await device.read(part, 0, length, offset)) === OK ? part : undefined;
}
