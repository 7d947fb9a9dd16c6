import { silentLog } from '../../base/log.js';
import { loadPosix } from '../../posix/posix.js';
import { lockImage } from './image-lock.js';
import { openImage } from './open-image.js';

/**
 * Sees to it that a file or block device may be overwritten: no server, virtual machine or mount has it, as far as locks
 * tell. @throws CodedError IMAGE_LOCKED, IMAGE_UNUSABLE
 */
export async function assertUnused(path: string): Promise<void> {
  const handle = await openImage({ path, readOnly: false });
  try {
    const posix = loadPosix();
    if (posix) lockImage({ fd: handle.fd, path, readOnly: false, posix, log: silentLog });
  } finally {
    await handle.close();
  }
}
