import { assert } from '../../base/assert.js';

/** Callers check that ranges lie inside the disk. This catches bugs in those checks. */
export function assertInside(sizeBytes: number, offset: number, length: number): void {
  assert(offset >= 0 && length >= 0 && offset <= sizeBytes - length, 'the range lies inside the disk');
}
