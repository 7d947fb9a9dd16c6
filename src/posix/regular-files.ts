import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Without these flags, opening a pipe waits for a writer, and a terminal may become our controlling terminal. */
const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

/** Opens a regular file for reading; undefined if it is anything else, such as a pipe, a device or a folder. */
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
 * Creates a folder and its missing parents, like `mkdir -p`. Node's own recursive mkdir loops forever if the system
 * says ENOENT although the parent exists, as in /proc. Resolves to the folders that it created, topmost first. If it
 * fails, it leaves none of them behind.
 */
export async function makeFolders(path: string, mode?: number): Promise<readonly string[]> {
  const found = await makeFolder(path, mode);
  if (found === 'there') return [];
  if (found === 'made') return [path];
  const above = await makeFolders(dirname(path), mode);
  try {
    const again = await makeFolder(path, mode);
    if (again === 'there') return above;
    if (again === 'homeless') await mkdir(path, mode);
    return [...above, path];
  } catch (error) {
    await removeEmptyFolders(above);
    throw error;
  }
}

/** Removes the folders that `makeFolders` created, unless something was put into them. */
export async function removeEmptyFolders(made: readonly string[]): Promise<void> {
  try {
    for (const folder of made.toReversed()) await rmdir(folder);
  } catch {
    // The folder is in use.
  }
}

/** 'homeless' means that the parent is missing. */
async function makeFolder(path: string, mode: number | undefined): Promise<'made' | 'there' | 'homeless'> {
  try {
    await mkdir(path, mode);
    return 'made';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' && dirname(path) !== path) return 'homeless';
    const isThere = code === 'EEXIST' && (await stat(path)).isDirectory();
    if (!isThere) throw error;
    return 'there';
  }
}
