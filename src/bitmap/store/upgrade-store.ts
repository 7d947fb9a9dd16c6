import { mkdirSync, rmSync, statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../base/coded-error.js';
import { freeBytes } from '../../base/free-space.js';
import { formatSize } from '../../base/units.js';
import { STORE_FILE } from './check-lmdb-file.js';
import type { Change, EntryStore, Key } from './key-value-store.js';
import { formatKey } from './keys.js';
import { LmdbStore } from './lmdb-store.js';
import { putInPlace } from './put-in-place.js';
import { SealedStore } from './sealed-store.js';

/** Entries per commit. */
const TOGETHER = 500;
const UPGRADE_FOLDER = 'upgrade';

/**
 * Copies a store of the first format, which has no checksums, into one of the current format, and atomically replaces
 * the old store with it. Closes `old`. @throws CodedError STORE_UNUSABLE
 */
export async function upgradeStore(directory: string, old: EntryStore, format: Change): Promise<LmdbStore> {
  needRoom(directory);
  const folder = join(directory, UPGRADE_FOLDER);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { mode: 0o700 });
  const fresh = await SealedStore.over(LmdbStore.open(folder));
  await copyEntries(old, fresh);
  await fresh.commit([format]);
  await fresh.close();
  await old.close();
  await putInPlace(UPGRADE_FOLDER, directory);
  return LmdbStore.open(directory);
}

async function copyEntries(from: EntryStore, to: SealedStore): Promise<void> {
  const keys: Key[] = [...from.keys([])].filter((key) => key[0] !== formatKey[0]);
  for (let at = 0; at < keys.length; at += TOGETHER) {
    await to.commit(keys.slice(at, at + TOGETHER).map((key) => ({ key, value: from.get(key) })));
  }
}

function needRoom(directory: string): void {
  const needed = statSync(join(directory, STORE_FILE)).size * 2;
  const free = freeBytes(statfsSync(directory));
  if (free >= needed) return;
  throw new CodedError(
    'STORE_UNUSABLE',
    `the store in ${directory} has an older format and cannot be rewritten: ${formatSize(needed)} needed, ${formatSize(free)} free`,
    'free space there and start the server again',
  );
}
