import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { renameDurably } from '../../posix/replacement.js';
import { STORE_FILE } from './check-lmdb-file.js';

/**
 * Atomically replaces the store in `directory` with the one in its subfolder `folder`. Neither may be open. The rename
 * is durable, because a power loss must not bring back the old store, which lacks all later changes.
 */
export async function putInPlace(folder: string, directory: string): Promise<void> {
  await renameDurably(join(directory, folder, STORE_FILE), join(directory, STORE_FILE));
  rmSync(join(directory, folder), { recursive: true, force: true });
}
