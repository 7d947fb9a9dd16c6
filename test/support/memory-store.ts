import type { Change, EntryStore, Key, KeyValueStore, Visitor } from '../../src/bitmap/store/key-value-store.js';
import { visitEntries } from '../../src/bitmap/store/visit-entries.js';

/** A store in memory that can be made to fail. Its content survives a restart of the code that uses it. */
export class MemoryStore implements EntryStore, KeyValueStore {
  private readonly content = new Map<string, Buffer>();
  /** If set, commits fail with this error number. */
  failWith: number | undefined;
  commits = 0;

  async commit(changes: readonly Change[]): Promise<void> {
    this.commits++;
    await Promise.resolve();
    if (this.failWith !== undefined) throw Object.assign(new Error('the store fails'), { errno: -this.failWith });
    for (const { key, value } of changes) {
      if (value) this.content.set(JSON.stringify(key), Buffer.from(value));
      else this.content.delete(JSON.stringify(key));
    }
  }

  get(key: Key): Buffer | undefined {
    return this.content.get(JSON.stringify(key));
  }

  peek(key: Key): Buffer | undefined {
    return this.get(key);
  }

  *keys(prefix: Key): Iterable<Key> {
    for (const text of [...this.content.keys()]) {
      const key = JSON.parse(text) as Key;
      if (prefix.every((part, i) => key[i] === part)) yield key;
    }
  }

  read(exportName: string, visit: Visitor): undefined {
    visitEntries(this, exportName, visit);
  }

  async close(): Promise<void> {}
}
