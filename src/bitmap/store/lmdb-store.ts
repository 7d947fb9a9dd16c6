import { statfsSync } from 'node:fs';
import { type Key as LmdbKey, open, type RootDatabase } from 'lmdb';
import { CodedError } from '../../base/coded-error.js';
import { ENOSPC } from '../../base/errno.js';
import { freeBytes } from '../../base/free-space.js';
import { KIB } from '../../base/units.js';
import type { Change, EntryStore, Key } from './key-value-store.js';

/** Free space that a store needs to be opened and closed, with a margin. */
export const LEAST_FREE_BYTES = 256 * KIB;

/** Sorts after every string and number. */
const AFTER_ALL_PARTS = Buffer.from([0xff]);

/** A store in an LMDB environment. Only one process may open it; the lock of the state directory ensures that. */
export class LmdbStore implements EntryStore {
  private constructor(
    private readonly directory: string,
    private database: RootDatabase<Buffer, LmdbKey>,
  ) {}

  /** @throws CodedError STORE_UNUSABLE */
  static open(directory: string): LmdbStore {
    return new LmdbStore(directory, openDatabase(directory));
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.needRoom(changes);
    // A failed commit rejects every promise of its batch; the promise of the batch itself is enough.
    const ignore = () => {};
    try {
      await this.database.batch(() => {
        for (const { key, value } of changes) {
          const done = value ? this.database.put([...key], value) : this.database.remove([...key]);
          done.catch(ignore);
        }
      });
    } catch (error) {
      throw await causeOf(error);
    }
  }

  /**
   * When LMDB cannot write a page, it overflows the buffer for the error message (lmdb 3.5.6, mdb_page_flush), and the
   * process crashes sooner or later. So a full disk is detected before the write.
   */
  private needRoom(changes: readonly Change[]): void {
    const bytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    if (freeBytes(statfsSync(this.directory)) >= LEAST_FREE_BYTES + 2 * bytes) return;
    throw Object.assign(new Error('No space left on device'), { errno: ENOSPC });
  }

  get(key: Key): Buffer | undefined {
    return this.database.get([...key]);
  }

  peek(key: Key): Buffer | undefined {
    // The library returns a larger buffer whose `length` was set to the size of the value.
    const value = this.database.getBinaryFast([...key]);
    return value?.subarray(0, value.length);
  }

  *keys(prefix: Key): Iterable<Key> {
    const range = { start: [...prefix], end: [...prefix, AFTER_ALL_PARTS] };
    // The library returns a key with one part as that part, not as an array.
    for (const key of this.database.getKeys(range)) yield (Array.isArray(key) ? key : [key]) as Key;
  }

  /**
   * Frees the memory of mapped pages after much was read. No operation may be running or begin before this resolves.
   */
  async unmap(): Promise<void> {
    await this.database.close();
    this.database = openDatabase(this.directory);
  }

  close(): Promise<void> {
    return this.database.close();
  }
}

function openDatabase(directory: string): RootDatabase<Buffer, LmdbKey> {
  try {
    // With overlappingSync a commit would resolve before it is durable. With eventTurnBatching a failed commit would
    // reject a promise that nothing handles, which would end the process.
    return open({ path: directory, encoding: 'binary', overlappingSync: false, eventTurnBatching: false });
  } catch (cause) {
    throw new CodedError(
      'STORE_UNUSABLE',
      `the store in ${directory} cannot be opened: ${(cause as Error).message}`,
      'check that the directory exists, is writable and is not full',
      { cause },
    );
  }
}

/** The library puts the cause of a failed commit into a promise, and its errno into `code`. */
async function causeOf(error: unknown): Promise<Error> {
  const { commitError } = error as { commitError?: Promise<never> };
  const unknown = new Promise<unknown>((resolve) => setImmediate(resolve, error));
  const cause = await Promise.race([commitError?.catch((reason: unknown) => reason) ?? error, unknown]);
  const { message, code } = cause as { message: string; code?: unknown };
  // The rest of the message describes library internals.
  const [what] = message.split(': Attempting to ');
  return Object.assign(new Error(what, { cause: error }), typeof code === 'number' ? { errno: code } : {});
}
