import { silentLog } from '../../base/log.js';
import { loadPosix } from '../../posix/posix.js';
import { lockImage } from './image-lock.js';
import { openImage } from './open-image.js';

/**
 * Checks that a file or block device can be overwritten: as far as locks tell, no server, virtual machine or mount is
 * using it. @throws CodedError IMAGE_LOCKED, IMAGE_UNUSABLE
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
