/** A part of a key; keys sort part by part, strings before nothing else of another kind. */
export type Key = readonly (string | number)[];

/** What a commit does to one key: a value to put, or undefined to remove it. */
export interface Change {
  readonly key: Key;
  readonly value: Buffer | undefined;
}

/**
 * Entries, as a library keeps them. Commits take effect in the order in which they were asked for, each as a whole or not at
 * all; one that resolved is durable, and so are all before it. After a crash the store is as some commit left it, no
 * earlier than the last that resolved.
 */
export interface EntryStore {
  /** Rejects with the cause when the commit did not come about; the store is then as before. */
  commit(changes: readonly Change[]): Promise<void>;
  get(key: Key): Buffer | undefined;
  /** As `get`, without a buffer of its own: the value is valid until the next call. */
  peek(key: Key): Buffer | undefined;
  /** Every key that begins with `prefix`, in order. */
  keys(prefix: Key): Iterable<Key>;
  close(): Promise<void>;
}

/** Takes one entry; the value is valid until it returns. */
export type Visitor = (key: Key, value: Buffer) => void;

/** What is wrong with the entries of an export. */
export interface Damage {
  /** Keys of entries whose values are not as they were written. */
  readonly entries: readonly Key[];
  /** Set when it cannot be told which entries are missing, too many or out of date: then nothing of the export is sound. */
  readonly whole?: string;
}

/** What bitmaps need of a store: it notices by itself what is not as it was written. */
export interface KeyValueStore extends Omit<EntryStore, 'peek'> {
  /** @throws DamagedEntry when the value is not as it was written */
  get(key: Key): Buffer | undefined;
  /**
   * Shows every sound entry of an export, those that others need first. When some are damaged the next commit to the
   * export has to remove all that it has, and to write it anew.
   */
  read(exportName: string, visit: Visitor): Damage | undefined;
}

/** The value of an entry is not as it was written. */
export class DamagedEntry extends Error {
  override readonly name = 'DamagedEntry';

  constructor(readonly key: Key) {
    super(`the entry ${key.join('/')} of the store is damaged`);
  }
}
