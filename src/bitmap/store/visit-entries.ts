import type { EntryStore, KeyValueStore, Visitor } from './key-value-store.js';
import { entriesOf } from './keys.js';

/** Visits every entry of an export, each before the entries that depend on it. */
export function visitEntries(store: EntryStore, exportName: string, visit: Visitor): void {
  for (const prefix of entriesOf(exportName)) for (const key of store.keys(prefix)) visit(key, store.peek(key)!);
}

/** A store of the first format, which has no checksums. */
export function unsealed(entries: EntryStore): KeyValueStore {
  return {
    commit: (changes) => entries.commit(changes),
    get: (key) => entries.get(key),
    keys: (prefix) => entries.keys(prefix),
    read: (exportName, visit) => void visitEntries(entries, exportName, visit),
    close: () => entries.close(),
  };
}
