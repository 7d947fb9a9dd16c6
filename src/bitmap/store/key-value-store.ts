/** A part of a key; keys sort part by part, strings before nothing else of another kind. */
export type Key = readonly (string | number)[];

/** What a commit does to one key: a value to put, or undefined to remove it. */
export interface Change {
  readonly key: Key;
  readonly value: Buffer | undefined;
}

/**
 * What bitmaps need of a store. Commits take effect in the order in which they were asked for, each as a whole or not at
 * all; one that resolved is durable, and so are all before it. After a crash the store is as some commit left it, no
 * earlier than the last that resolved.
 */
export interface KeyValueStore {
  /** Rejects with the cause when the commit did not come about; the store is then as before. */
  commit(changes: readonly Change[]): Promise<void>;
  get(key: Key): Buffer | undefined;
  /** As `get`, without a buffer of its own: the value is valid until the next call. */
  peek(key: Key): Buffer | undefined;
  /** Every key that begins with `prefix`, in order. */
  keys(prefix: Key): Iterable<Key>;
  close(): Promise<void>;
}
