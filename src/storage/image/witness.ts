import { createHash } from 'node:crypto';
import { OK } from '../../base/errno.js';
import { KIB, MIB } from '../../base/units.js';
import type { BlockDevice } from '../device/block-device.js';

/**
 * Both ends of the disk: there file systems (ext4, XFS, Btrfs), volume managers (LVM, MD, ZFS) and partition tables keep what
 * they change whenever they are used.
 */
const END_BYTES = MIB;
const SAMPLES = 256;
const SAMPLE_BYTES = 4 * KIB;
const READS_AT_A_TIME = 16;

/**
 * A checksum of the places of a disk that change most likely when somebody uses it: both ends, and blocks at even
 * distances. It is the same as long as those are; it says nothing of the rest. Undefined when they cannot be read.
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
