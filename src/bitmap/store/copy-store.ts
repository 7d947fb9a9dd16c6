import { rmSync, statfsSync, statSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { EINVAL } from '../../base/errno.js';
import { freeBytes } from '../../base/free-space.js';
import { STORE_FILE } from './check-lmdb-file.js';
import type { Change } from './key-value-store.js';
import { LmdbStore } from './lmdb-store.js';

/** Where a copy is made that is to take the place of a store: in the folder of that. */
export const COPY_FOLDER = 'copy';
/** Entries that go into one commit. */
const TOGETHER = 2000;

/** What came of reading a store: '' when nothing is wrong with it. */
export interface Walked {
  readonly damage: string;
  /** The copy has all that the store has. */
  readonly isCopied: boolean;
}

/**
 * Reads every entry of a store, and copies it if there is room. LMDB may end the process where a page makes no sense; so
 * this belongs into one of its own.
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

/** Else LMDB does not take an entry, which then is none that was ever put. */
function isOfDisk(error: unknown): boolean {
  const { errno = 0 } = error as { errno?: number };
  return errno > 0 && errno !== EINVAL;
}
