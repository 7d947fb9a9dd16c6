import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError } from '../../base/coded-error.js';
import { errnoName, errnoOf, isMissing } from '../../base/errno.js';
import { formatCount } from '../../base/units.js';
import type { ImageGuard } from './image-guard.js';
import { checkImageSize } from './image-size.js';

/** Disks hold private data, so only the server's user can read a new image until its mode is changed. */
const IMAGE_MODE = 0o600;

/** Longer than the time resolution of file systems. */
const CLOCK_TICK_MILLISECONDS = 20;

/** Creates a sparse file of that size and makes its name durable. It must not exist yet. `guard` is asked first. */
export async function createImage(path: string, sizeBytes: number, guard?: ImageGuard): Promise<void> {
  checkImageSize(path, sizeBytes);
  try {
    await using folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    await guard?.admitFolder(folder);
    // Through the open folder, because its name may refer to another folder by now.
    await makeFile(`/proc/self/fd/${folder.fd}/${basename(path)}`, sizeBytes);
    // Without this, a crash may lose the name of a file whose content is durable.
    await folder.sync();
  } catch (error) {
    if (error instanceof CodedError) throw error;
    if (isMissing(error)) {
      const what = `cannot create the image ${path}: there is no folder ${dirname(path)}`;
      throw new CodedError('IMAGE_UNUSABLE', what, 'create it first, or choose another path', { cause: error });
    }
    throw new CodedError(
      'IMAGE_UNUSABLE',
      `cannot create the image ${path} of ${formatCount(sizeBytes, 'byte')}: ${errnoName(errnoOf(error))}`,
      'check that its folder is writable, and that its file system supports files of that size',
      { cause: error },
    );
  }
}

async function makeFile(path: string, sizeBytes: number): Promise<void> {
  const handle = await open(path, 'wx', IMAGE_MODE);
  try {
    // Makes the creation time differ from the last change. `disk-identity.ts` relies on that to tell files apart.
    await delay(CLOCK_TICK_MILLISECONDS);
    await handle.truncate(sizeBytes);
    await handle.sync();
  } catch (error) {
    await unlink(path);
    throw error;
  } finally {
    await handle.close();
  }
}
