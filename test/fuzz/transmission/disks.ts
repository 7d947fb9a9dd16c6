import { KIB, MIB } from '../../../src/base/units.js';

/** A disk of the server that only this target uses. */
export interface FuzzDisk {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly bitmaps: readonly string[];
  /** The alignment for clients that ask for block sizes. */
  readonly minBlockBytes: 1 | 512 | 4096;
  /** The size of the file, which may end within the last sector if it is read-only. The rest reads as zeroes. */
  readonly fileBytes: number;
}

export const GRANULE_BYTES = 4 * KIB;
export const NIGHTLY = 'nightly';

const disk = (name: string, sizeBytes: number, readOnly = false, bitmaps: readonly string[] = []): FuzzDisk => ({
  ...{ name, sizeBytes, readOnly, bitmaps, minBlockBytes: 512, fileBytes: sizeBytes },
});

export const MODEL = disk('model', 4 * MIB, false, [NIGHTLY, 'weekly']);
/** A disk that is one hole, of which a request can read only a small part. */
export const HUGE = disk('huge', 8 * 2 ** 40, true);
/** On a disk, whereas the other writable ones are in memory. */
const SLOW = disk('slow', 2 * MIB);
export const fuzzDisks: readonly FuzzDisk[] = [
  ...[MODEL, HUGE, SLOW, disk('tiny', 512)],
  { ...disk('odd', 300 * KIB + 512, true), fileBytes: 300 * KIB + 100 },
  { ...disk('bytes', 64 * KIB + 512), minBlockBytes: 1 },
  { ...disk('blocks', 256 * KIB), minBlockBytes: 4096 },
];

/** The folder of the image, which is on a disk or in memory. */
export function imagePath({ name }: FuzzDisk, onDisk: string, inMemory: string): string {
  return `${name === MODEL.name ? inMemory : onDisk}/${name}.img`;
}

export function specOf(fuzzed: FuzzDisk, path: string): string {
  const { name, readOnly, bitmaps, minBlockBytes } = fuzzed;
  const options = bitmaps.map((bitmap) => `,bitmap=${bitmap}:${bitmap === NIGHTLY ? '4K' : '64K'}`);
  return `${name}=${path}${readOnly ? ',readonly' : ''},min-block=${minBlockBytes}${options.join('')}`;
}
