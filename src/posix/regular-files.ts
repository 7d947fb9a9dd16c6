import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rmdir, stat } from 'node:fs/promises';
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
 * although the folder above is there, as it does in /proc. Resolves to those that were not there, the topmost first; when
 * it fails, none of them stays.
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

/** Takes back what `makeFolders` made, as far as nothing has come into it. */
export async function removeEmptyFolders(made: readonly string[]): Promise<void> {
  try {
    for (const folder of made.toReversed()) await rmdir(folder);
  } catch {
    // Somebody uses it.
  }
}

/** 'homeless' when the folder above is missing. */
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
