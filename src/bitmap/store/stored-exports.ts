import { type DiskIdentity, isSameDisk, otherDisk } from '../../storage/image/disk-identity.js';
import { type Change, DamagedEntry, type KeyValueStore } from './key-value-store.js';
import { everyExport, exportKey } from './keys.js';
import type { StoredExport } from './left-disk.js';

export function describeExport(exportName: string, stored: StoredExport): Change {
  return { key: exportKey(exportName), value: Buffer.from(JSON.stringify(stored)) };
}

/** A change of the entry of another export. */
export interface Note {
  readonly exportName: string;
  readonly change: Change;
}

/**
 * Notes for other exports of the same disk that their bitmaps will miss the writes made through this one. A file that
 * was closed cleanly needs no note, because its timestamps will show the writes.
 */
export function notesToOthers(
  identity: DiskIdentity,
  exportName: string,
  store: KeyValueStore,
  known: NamesByDisk,
): Note[] {
  return namesOf(identity, known).flatMap((name) => {
    const stored = name === exportName ? undefined : readExport(store, name);
    if (!stored || otherDisk(stored.identity, identity) !== undefined) return [];
    if (stored.clean && identity.kind === 'file') return [];
    return [{ exportName: name, change: describeExport(name, { ...stored, servedAs: exportName }) }];
  });
}

/** Whether the disk was served before, under any name. */
export function isKnownDisk(identity: DiskIdentity, store: KeyValueStore, known: NamesByDisk): boolean {
  return namesOf(identity, known).some((name) => {
    const stored = readExport(store, name);
    return stored !== undefined && isSameDisk(stored.identity, identity);
  });
}

/** The exports in the store by the `id` of their disk. Disks that took turns to have an id share it. */
export type NamesByDisk = ReadonlyMap<string, readonly string[]>;

/** Reads the entries of all exports once, so that opening many exports does not read them again for each. */
export function namesByDisk(store: KeyValueStore): NamesByDisk {
  const names = new Map<string, string[]>();
  for (const { name, stored } of readExports(store)) {
    const { id } = stored.identity;
    const same = names.get(id);
    if (same) same.push(name);
    else names.set(id, [name]);
  }
  return names;
}

function namesOf({ id }: DiskIdentity, known: NamesByDisk): readonly string[] {
  return known.get(id) ?? [];
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

function readExports(store: KeyValueStore): { readonly name: string; readonly stored: StoredExport }[] {
  const names = [...store.keys(everyExport)].map((key) => String(key.at(-1)));
  return names.flatMap((name) => {
    const stored = readExport(store, name);
    return stored ? [{ name, stored }] : [];
  });
}
