import { type Errno, OK } from '../base/errno.js';
import type { BlockDevice } from '../export/served-disk.js';
import { Command, CommandFlag } from '../protocol/constants.js';

/** Executes a valid FLUSH, CACHE, TRIM or WRITE_ZEROES request. Resolves when it can be answered. */
export function executeChange(
  device: BlockDevice,
  command: number,
  flags: number,
  offset: number,
  length: number,
): Promise<Errno> {
  switch (command) {
    case Command.FLUSH:
      return device.flush();
    case Command.CACHE:
      return device.cache(offset, length);
    case Command.TRIM:
      return durable(device, flags, device.trim(offset, length));
    default:
      return durable(
        device,
        flags,
        device.zero(offset, length, {
          keepAllocated: (flags & CommandFlag.NO_HOLE) !== 0,
          fastOnly: (flags & CommandFlag.FAST_ZERO) !== 0,
        }),
      );
  }
}

/** Waits for a change. With FUA, it then flushes the device, so that the change is durable before it is answered. */
export async function durable(device: BlockDevice, flags: number, change: Promise<Errno>): Promise<Errno> {
  const errno = await change;
  return errno === OK && (flags & CommandFlag.FUA) !== 0 ? device.flush() : errno;
}
