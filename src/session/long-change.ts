import { type Errno, ESHUTDOWN, OK } from '../base/errno.js';
import { GIB } from '../base/units.js';
import type { Request } from '../protocol/request.js';

/**
 * A longer change is made in parts that end at multiples of this, so that a backup that begins need not wait for all of
 * it. Only requests with extended headers are longer.
 */
const MAX_PART_BYTES = 4 * GIB;

type Change = (offset: number, length: number, isFirst: boolean) => Promise<Errno>;

/** Changes the range of a request. Before each part but the first, it asks whether the rest is given up. */
export async function changeInParts(
  { offset, length }: Request,
  change: Change,
  isGivenUp: () => boolean,
): Promise<Errno> {
  if (length <= MAX_PART_BYTES) return change(offset, length, true);
  const end = offset + length;
  for (let at = offset; at < end; ) {
    if (at > offset && isGivenUp()) return ESHUTDOWN;
    const stop = Math.min((Math.floor(at / MAX_PART_BYTES) + 1) * MAX_PART_BYTES, end);
    const errno = await change(at, stop - at, at === offset);
    if (errno !== OK) return errno;
    at = stop;
  }
  return OK;
}
