import { constants } from 'node:fs';
import { open, unlink } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CodedError } from '../../base/coded-error.js';
import { errnoName, errnoOf } from '../../base/errno.js';
import type { ImageGuard } from './image-guard.js';
import { checkImageSize } from './image-size.js';

/** Disks hold whatever their users keep private, so only the server's user may read one until somebody decides more. */
const IMAGE_MODE = 0o600;

/** Longer than the steps in which file systems tell time. */
const CLOCK_TICK_MILLISECONDS = 20;

/** Makes a sparse file of that size, which must not exist, and its name durable. `guard` is asked first. */
export async function createImage(path: string, sizeBytes: number, guard?: ImageGuard): Promise<void> {
  checkImageSize(path, sizeBytes);
  try {
    await using folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    await guard?.admitFolder(folder);
    // By the open folder: another may have its name by now.
    await makeFile(`/proc/self/fd/${folder.fd}/${basename(path)}`, sizeBytes);
    // Without it a crash may lose the name of a file whose content is durable.
    await folder.sync();
  } catch (error) {
    if (error instanceof CodedError) throw error;
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      const what = `the image ${path} cannot be made: there is no folder ${dirname(path)}`;
      throw new CodedError('IMAGE_UNUSABLE', what, 'make it first, or choose another path', { cause: error });
    }
    throw new CodedError(
      'IMAGE_UNUSABLE',
      `the image ${path} cannot be made with ${sizeBytes} bytes: ${errnoName(errnoOf(error))}`,
      'check that its folder exists and may be written to, and that its file system holds files of that size',
      { cause: error },
    );
  }
}

async function makeFile(path: string, sizeBytes: number): Promise<void> {
  const handle = await open(path, 'wx', IMAGE_MODE);
  try {
    // So that the time of its making is another than that of its last change, by which files are told apart.
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
