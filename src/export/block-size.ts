import type { MinBlockBytes } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { formatCount, SECTOR_BYTES } from '../base/units.js';

export const DEFAULT_MIN_BLOCK_BYTES: MinBlockBytes = SECTOR_BYTES;

/** Checks that clients can reach the end of the disk in whole blocks. @throws CodedError EXPORT_INVALID */
export function checkWholeBlocks(name: string, sizeBytes: number, minBlockBytes: MinBlockBytes): void {
  // The disk itself ensures whole sectors.
  if (minBlockBytes <= SECTOR_BYTES || sizeBytes % minBlockBytes === 0) return;
  throw new CodedError(
    'EXPORT_INVALID',
    `the size of "${name}", ${formatCount(sizeBytes, 'byte')}, is not a multiple of its min-block of ${minBlockBytes}`,
    `choose min-block=${DEFAULT_MIN_BLOCK_BYTES}, or another size`,
  );
}
