import type { Change, Key } from '../../src/bitmap/store/key-value-store.js';

/** The entries of a store in memory, for stores that fail in different ways. */
export class MemoryEntries {
  constructor(protected readonly content = new Map<string, Buffer>()) {}

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

  async close(): Promise<void> {}

  protected put(changes: readonly Change[], content = this.content): void {
    for (const { key, value } of changes) {
      if (value) content.set(JSON.stringify(key), Buffer.from(value));
      else content.delete(JSON.stringify(key));
    }
  }
}
