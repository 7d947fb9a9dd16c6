import { CodedError } from '../base/coded-error.js';
import { formatSize, GIB, isPowerOfTwo, KIB, MIB } from '../base/units.js';

// Where QEMU has the same limit, the refusal uses QEMU's words (block/monitor/bitmap-qmp-cmds.c).
export const DEFAULT_GRANULARITY_BYTES = 64 * KIB;
const MIN_GRANULARITY_BYTES = 512;
const MAX_GRANULARITY_BYTES = 2 * GIB;
/** Applies to export names too, because the names of views and contexts are built from both. */
export const MAX_NAME_BYTES = 1023;
const MAX_BITMAP_BYTES = 512 * MIB;
/** Limit for one transaction: two bitmaps of the largest size, or one on each of 64 disks of 8 TiB. */
const MAX_NEW_BITS_BYTES = 1 * GIB;

function refuse(message: string, hint: string): never {
  throw new CodedError('BITMAP_INVALID', message, hint);
}

/** @throws CodedError BITMAP_INVALID */
export function checkName(name: string): void {
  if (name === '') refuse('Bitmap name cannot be empty', 'give it a name');
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    refuse(`Bitmap name too long: ${name.slice(0, 40)}…`, `a name has at most ${MAX_NAME_BYTES} bytes`);
  }
  // Names are printed in metadata contexts, logs and terminals.
  if (/\p{Cc}/u.test(name)) refuse('Bitmap name contains a control character', 'choose a printable name');
}

export function isName(name: string): boolean {
  try {
    checkName(name);
    return true;
  } catch {
    return false;
  }
}

/** The granularity of a bitmap when none was chosen. */
export function usualGranularity(diskBytes: number): number {
  return Math.max(DEFAULT_GRANULARITY_BYTES, leastGranularity(diskBytes));
}

function leastGranularity(diskBytes: number): number {
  return 2 ** Math.ceil(Math.log2(diskBytes / MAX_BITMAP_BYTES / 8));
}

/** @throws CodedError BITMAP_INVALID */
export function checkGranularity(granularityBytes: number, diskBytes: number): void {
  if (!isPowerOfTwo(granularityBytes) || granularityBytes < MIN_GRANULARITY_BYTES) {
    refuse('Granularity must be power of 2 and at least 512', 'choose one such as 64K');
  }
  if (granularityBytes > MAX_GRANULARITY_BYTES) {
    refuse(`Granularity exceeds maximum (${MAX_GRANULARITY_BYTES} bytes)`, 'choose a smaller one, such as 64K');
  }
  if (diskBytes / granularityBytes / 8 > MAX_BITMAP_BYTES) {
    refuse(
      'Too much space will be occupied by the bitmap. Use larger granularity',
      `use at least ${formatSize(leastGranularity(diskBytes))} for this disk`,
    );
  }
}

/** @throws CodedError BITMAP_INVALID when one transaction creates too many new bits */
export function checkNewBits(bytes: number): void {
  if (bytes <= MAX_NEW_BITS_BYTES) return;
  refuse(
    `The bitmaps that this transaction adds, clears or merges need more than ${formatSize(MAX_NEW_BITS_BYTES)} of bits`,
    'split it into several transactions, or choose larger granularities',
  );
}
