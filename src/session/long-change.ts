import { type Errno, ESHUTDOWN, OK } from '../base/errno.js';
import { GIB } from '../base/units.js';
import { CommandFlag } from '../protocol/constants.js';
import type { Request } from '../protocol/request.js';
import type { BlockDevice } from '../storage/device/block-device.js';

/**
 * A longer change is made in parts that end at multiples of this, so that a backup that begins need not wait for all of
 * it. Only requests with extended headers are longer.
 */
const MAX_PART_BYTES = 4 * GIB;

type Change = (offset: number, length: number, isFirst: boolean) => Promise<Errno>;

/** Trims the range of a request. Before each part but the first, it asks whether the rest is given up. */
export function trimInParts(device: BlockDevice, request: Request, isGivenUp: () => boolean): Promise<Errno> {
  return changeInParts(request, (offset, length) => device.trim(offset, length), isGivenUp);
}

/** As `trimInParts`. */
export function zeroInParts(device: BlockDevice, request: Request, isGivenUp: () => boolean): Promise<Errno> {
  const has = (flag: number) => (request.flags & flag) !== 0;
  const keepAllocated = has(CommandFlag.NO_HOLE);
  // Once something has changed, it must not fail because the rest would not be fast.
  const zeroPart = (offset: number, length: number, isFirst: boolean) =>
    device.zero(offset, length, { keepAllocated, fastOnly: has(CommandFlag.FAST_ZERO) && isFirst });
  return changeInParts(request, zeroPart, isGivenUp);
}

async function changeInParts({ offset, length }: Request, change: Change, isGivenUp: () => boolean): Promise<Errno> {
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
