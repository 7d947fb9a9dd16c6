import { KIB, MIB } from '../../../src/base/units.js';

/** A disk of the server that this target alone uses. */
export interface FuzzDisk {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly bitmaps: readonly string[];
}

export const GRANULE_BYTES = 4 * KIB;
export const NIGHTLY = 'nightly';

const disk = (name: string, sizeBytes: number, readOnly = false, bitmaps: readonly string[] = []): FuzzDisk => ({
  ...{ name, sizeBytes, readOnly, bitmaps },
});

export const MODEL = disk('model', 4 * MIB, false, [NIGHTLY, 'weekly']);
/** Holes of which no request reads more than a few. */
export const HUGE = disk('huge', 8 * 2 ** 40, true);
/** On a disk, where the others that are written lie in memory. */
const SLOW = disk('slow', 2 * MIB);
export const fuzzDisks: readonly FuzzDisk[] = [
  MODEL,
  HUGE,
  SLOW,
  disk('tiny', 512),
  disk('odd', 300 * KIB + 512, true),
];

/** Where the image lies, of folders on a disk and in memory. */
export function imagePath({ name }: FuzzDisk, onDisk: string, inMemory: string): string {
  return `${name === MODEL.name ? inMemory : onDisk}/${name}.img`;
}

export function specOf(fuzzed: FuzzDisk, path: string): string {
  const { name, readOnly, bitmaps } = fuzzed;
  const options = bitmaps.map((bitmap) => `,bitmap=${bitmap}:${bitmap === NIGHTLY ? '4K' : '64K'}`);
  return `${name}=${path}${readOnly ? ',readonly' : ''}${options.join('')}`;
}
