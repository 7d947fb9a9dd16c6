import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A pipe would keep whoever opens it waiting for a writer, and a terminal may become ours. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Opens a file for reading; undefined when it is something else: a pipe, a device, a folder. */
export async function openRegularFile(path: string): Promise<FileHandle | undefined> {
  const file = await open(path, READ);
  const isRegular = await file.stat().then(
    (stats) => stats.isFile(),
    async (error) => {
      await file.close();
      throw error;
    },
  );
  if (isRegular) return file;
  await file.close();
  return undefined;
}

/**
 * Makes a folder and those above it, as `mkdir -p` does. Node's own way goes round for ever where the system says ENOENT
 * although the folder above is there, as it does in /proc.
 */
export async function makeFolders(path: string, mode?: number): Promise<void> {
  if (await makeFolder(path, mode)) return;
  await makeFolders(dirname(path), mode);
  if (!(await makeFolder(path, mode))) await mkdir(path, mode);
}

/** False when the folder above is missing. */
async function makeFolder(path: string, mode: number | undefined): Promise<boolean> {
  try {
    await mkdir(path, mode);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return false;
    const isThere = code === 'EEXIST' && (await stat(path)).isDirectory();
    if (!isThere) throw error;
  }
  return true;
}
