import { CodedError } from '../base/coded-error.js';
import { formatCount, parseSize, SECTOR_BYTES } from '../base/units.js';

/** Smallest unit in bytes that a client may read or write, if it has asked for the block sizes. */
export type MinBlockBytes = (typeof MIN_BLOCK_CHOICES)[number];

export const MIN_BLOCK_CHOICES = [1, 512, 4096] as const;
export const DEFAULT_MIN_BLOCK_BYTES: MinBlockBytes = SECTOR_BYTES;

/** Undefined when the text is not one of the choices. */
export function parseMinBlock(text: string): MinBlockBytes | undefined {
  const bytes = parseSize(text);
  return MIN_BLOCK_CHOICES.find((choice) => choice === bytes);
}

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
