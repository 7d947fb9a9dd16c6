import { assert } from '../../base/assert.js';

/** Devices are asked only for ranges that the caller found to lie inside the disk; this catches the caller's bug. */
export function assertInside(sizeBytes: number, offset: number, length: number): void {
  assert(offset >= 0 && length >= 0 && offset <= sizeBytes - length, 'the range lies inside the disk');
}
