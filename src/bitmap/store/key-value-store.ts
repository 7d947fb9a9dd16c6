/** Keys sort part by part. */
export type Key = readonly (string | number)[];

/** What a commit does to one key: a value to put, or undefined to remove it. */
export interface Change {
  readonly key: Key;
  readonly value: Buffer | undefined;
}

/**
 * A transactional store of entries. Commits take effect in the order of the calls, each completely or not at all. A
 * commit that resolved is durable, and so are all before it. After a crash the store has the state after some commit,
 * at least the last one that resolved.
 */
export interface EntryStore {
  /** Rejects with the cause when the commit failed; the store is then unchanged. */
  commit(changes: readonly Change[]): Promise<void>;
  get(key: Key): Buffer | undefined;
  /** Like `get` without a copy: the value is valid only until the next call. */
  peek(key: Key): Buffer | undefined;
  /** All keys that begin with `prefix`, in order. */
  keys(prefix: Key): Iterable<Key>;
  close(): Promise<void>;
}

/** Receives one entry; the value is valid only during the call. */
export type Visitor = (key: Key, value: Buffer) => void;

/** The damage found in the entries of an export. */
export interface Damage {
  /** Keys of entries whose values do not match their checksums. */
  readonly entries: readonly Key[];
  /** Set when unknown entries are missing, extra or out of date, so that nothing of the export can be trusted. */
  readonly whole?: string;
}

/** The store as bitmaps use it: it detects entries that are not as they were written. */
export interface KeyValueStore extends Omit<EntryStore, 'peek'> {
  /** @throws DamagedEntry when the value is not as it was written */
  get(key: Key): Buffer | undefined;
  /**
   * Visits every sound entry of an export; entries that others depend on come first. If any entry is damaged, the next
   * commit to the export must remove all its entries and write them again.
   */
  read(exportName: string, visit: Visitor): Damage | undefined;
}

/** The value of an entry does not match its checksum. */
export class DamagedEntry extends Error {
  override readonly name = 'DamagedEntry';

  constructor(readonly key: Key) {
    super(`the entry ${key.join('/')} of the store is damaged`);
  }
}
