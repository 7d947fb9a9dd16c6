import { statfsSync } from 'node:fs';
import { type Key as LmdbKey, open, type RootDatabase } from 'lmdb';
import { CodedError } from '../../base/coded-error.js';
import { ENOSPC } from '../../base/errno.js';
import { freeBytes } from '../../base/free-space.js';
import { KIB } from '../../base/units.js';
import type { Change, EntryStore, Key } from './key-value-store.js';

/** What a store needs to be opened and closed, with some to spare. */
export const LEAST_FREE_BYTES = 256 * KIB;

/** Behind every string and number that a key part may be. */
const AFTER_ALL_PARTS = Buffer.from([0xff]);

/** The store in an LMDB environment, for one process at a time: whoever opens it holds a lock of the state directory. */
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
    // A commit that fails rejects every promise of its batch; that of the batch says it for all.
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
   * When LMDB cannot write a page it describes that in a buffer that is too small (lmdb 3.5.6, mdb_page_flush), which
   * ends the process sooner or later. So a full disk is noticed before it comes to that.
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
    // It lies in a larger buffer of the library's, which says with `length` how much of that it is.
    const value = this.database.getBinaryFast([...key]);
    return value?.subarray(0, value.length);
  }

  *keys(prefix: Key): Iterable<Key> {
    const range = { start: [...prefix], end: [...prefix, AFTER_ALL_PARTS] };
    // The library gives a key of one part as that part.
    for (const key of this.database.getKeys(range)) yield (Array.isArray(key) ? key : [key]) as Key;
  }

  /**
   * Gives back the memory that the file's mapped pages take after much was read. Nothing may be under way, nor come
   * before it resolves.
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
    // With overlappingSync a commit would resolve before it is durable; with eventTurnBatching one that fails would
    // reject a promise that nobody holds, which ends the process.
    return open({ path: directory, encoding: 'binary', overlappingSync: false, eventTurnBatching: false });
  } catch (cause) {
    throw new CodedError(
      'STORE_UNUSABLE',
      `the store in ${directory} cannot be opened: ${(cause as Error).message}`,
      'see that the directory is there, writable and not full',
      { cause },
    );
  }
}

/** The library puts the cause of a failed commit into a promise, and the error number into `code`. */
async function causeOf(error: unknown): Promise<Error> {
  const { commitError } = error as { commitError?: Promise<never> };
  const unknown = new Promise<unknown>((resolve) => setImmediate(resolve, error));
  const cause = await Promise.race([commitError?.catch((reason: unknown) => reason) ?? error, unknown]);
  const { message, code } = cause as { message: string; code?: unknown };
  // What the library was about to do is of use to nobody who reads it.
  const [what] = message.split(': Attempting to ');
  return Object.assign(new Error(what, { cause: error }), typeof code === 'number' ? { errno: code } : {});
}
