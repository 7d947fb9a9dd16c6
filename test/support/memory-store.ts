import type { Change, EntryStore, KeyValueStore, Visitor } from '../../src/bitmap/store/key-value-store.js';
import { visitEntries } from '../../src/bitmap/store/visit-entries.js';
import { MemoryEntries } from './memory-entries.js';

/** A store in memory that can be made to fail. Its content survives a restart of the code that uses it. */
export class MemoryStore extends MemoryEntries implements EntryStore, KeyValueStore {
  /** If set, commits fail with this error number. */
  failWith: number | undefined;
  commits = 0;

  async commit(changes: readonly Change[]): Promise<void> {
    this.commits++;
    await Promise.resolve();
    if (this.failWith !== undefined) throw Object.assign(new Error('the store fails'), { errno: -this.failWith });
    this.put(changes);
  }

  /** What a crash would leave. */
  copy(): MemoryStore {
    return new MemoryStore(new Map(this.content));
  }

  read(exportName: string, visit: Visitor): undefined {
    visitEntries(this, exportName, visit);
  }
}
