import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { renameDurably } from '../../posix/replacement.js';
import { STORE_FILE } from './check-lmdb-file.js';

/**
 * Puts a store that nobody has open, in a folder of `directory`, in the place of the one there, in one step. A power loss must
 * not bring back the old one, which knows nothing of the changes from then on.
 */
export async function putInPlace(folder: string, directory: string): Promise<void> {
  await renameDurably(join(directory, folder, STORE_FILE), join(directory, STORE_FILE));
  rmSync(join(directory, folder), { recursive: true, force: true });
}
