import { rmSync, statfsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EINVAL } from '../../base/errno.js';
import { freeBytes } from '../../base/free-space.js';
import { STORE_FILE } from './check-lmdb-file.js';
import type { Change } from './key-value-store.js';
import { LmdbStore } from './lmdb-store.js';

/** The folder, inside the store's folder, for a copy that will replace the store. */
export const COPY_FOLDER = 'copy';
/** Entries per commit. */
const TOGETHER = 2000;

/** The result of reading a store; `damage` is '' when there is none. */
export interface Walked {
  readonly damage: string;
  /** Whether the copy is complete. */
  readonly isCopied: boolean;
}

/**
 * Reads every entry of a store, and copies the store if there is enough space. Run this in a separate process, because
 * LMDB may crash on a damaged page.
 */
export async function readStore(directory: string, wantsCopy: boolean): Promise<Walked> {
  const store = LmdbStore.open(directory);
  const copy = wantsCopy && hasRoom(directory) ? await emptyCopy(directory) : undefined;
  let isCopied = copy !== undefined;
  let together: Change[] = [];
  const write = async () => {
    try {
      if (isCopied) await copy?.commit(together);
    } catch (error) {
      if (!isOfDisk(error)) throw error;
      isCopied = false;
    }
    together = [];
  };
  try {
    for (const key of store.keys([])) {
      const value = store.peek(key);
      if (!value) return { damage: 'an entry is listed and cannot be found', isCopied: false };
      if (isCopied) together.push({ key, value: Buffer.from(value) });
      if (together.length === TOGETHER) await write();
    }
    await write();
    return { damage: '', isCopied };
  } catch (error) {
    return { damage: (error as Error).message, isCopied: false };
  } finally {
    await copy?.close();
    await store.close();
  }
}

async function emptyCopy(directory: string): Promise<LmdbStore> {
  const folder = join(directory, COPY_FOLDER);
  rmSync(folder, { recursive: true, force: true });
  await mkdir(folder, { mode: 0o700 });
  return LmdbStore.open(folder);
}

function hasRoom(directory: string): boolean {
  return freeBytes(statfsSync(directory)) >= 2 * statSync(join(directory, STORE_FILE)).size;
}

/** Any other error means that LMDB rejects the entry itself, so the entry is damaged. */
function isOfDisk(error: unknown): boolean {
  const { errno = 0 } = error as { errno?: number };
  return errno > 0 && errno !== EINVAL;
}
