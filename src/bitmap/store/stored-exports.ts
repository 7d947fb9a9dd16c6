import { type DiskIdentity, otherDisk } from '../../storage/image/disk-identity.js';
import { type Change, DamagedEntry, type KeyValueStore } from './key-value-store.js';
import { everyExport, exportKey } from './keys.js';
import type { StoredExport } from './left-disk.js';

export function describeExport(exportName: string, stored: StoredExport): Change {
  return { key: exportKey(exportName), value: Buffer.from(JSON.stringify(stored)) };
}

/**
 * Notes for other exports of the same disk that their bitmaps will miss the writes made through this one. A file that
 * was closed cleanly needs no note, because its timestamps will show the writes.
 */
export function notesToOthers(identity: DiskIdentity, exportName: string, store: KeyValueStore): Change[] {
  return readExports(store).flatMap(({ name, stored }) => {
    const isSame = name !== exportName && otherDisk(stored.identity, identity) === undefined;
    if (!isSame || (stored.clean && identity.kind === 'file')) return [];
    return [describeExport(name, { ...stored, servedAs: exportName })];
  });
}

/** Undefined when the entry is missing or damaged. */
export function readExport(store: KeyValueStore, exportName: string): StoredExport | undefined {
  try {
    const value = store.get(exportKey(exportName));
    return value && (JSON.parse(value.toString()) as StoredExport);
  } catch (error) {
    if (error instanceof DamagedEntry) return undefined;
    throw error;
  }
}

export function readExports(store: KeyValueStore): { readonly name: string; readonly stored: StoredExport }[] {
  const names = [...store.keys(everyExport)].map((key) => String(key.at(-1)));
  return names.flatMap((name) => {
    const stored = readExport(store, name);
    return stored ? [{ name, stored }] : [];
  });
}
