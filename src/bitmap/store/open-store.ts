import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { CodedError } from '../../base/coded-error.js';
import type { Log } from '../../base/log.js';
import { timeStamp } from '../../base/timed-id.js';
import { renameDurably } from '../../posix/replacement.js';
import { damageOfLmdbFile, STORE_FILE } from './check-lmdb-file.js';
import { forgetClosed, noteClosed, stateOf } from './closing-note.js';
import type { KeyValueStore } from './key-value-store.js';
import { formatKey, lostKey } from './keys.js';
import { LmdbStore } from './lmdb-store.js';
import { SealedStore } from './sealed-store.js';
import { upgradeStore } from './upgrade-store.js';
import { unsealed } from './visit-entries.js';
import { walkStore } from './walk-store.js';

/** Increased when the meaning of stored entries changes. A server refuses a newer format. */
const FORMAT_VERSION = 2;
/** The format without checksums. */
const FIRST_FORMAT = 1;

const format = { key: formatKey, value: Buffer.from([FORMAT_VERSION]) };

/** The store of a running server. Opening it detects damage and deals with it. */
export class ServerStore {
  private constructor(
    private readonly directory: string,
    private readonly lmdb: LmdbStore,
    readonly entries: SealedStore,
    /** Why bitmaps may have been lost; undefined when none were. */
    private lostBecause: string | undefined,
  ) {}

  /**
   * Opens the store. If damage might make LMDB crash, the store is moved aside and replaced by an empty one.
   * @throws CodedError STORE_UNUSABLE
   */
  static async open(directory: string, log: Log): Promise<ServerStore> {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const damage = await damageOfStore(directory, { renew: true });
    const setAside = damage && (await moveAside(directory, damage, log));
    await forgetClosed(directory);
    const lmdb = await openFormat(directory, log);
    const entries = await SealedStore.over(lmdb);
    refuseNewer(entries, directory);
    const lost = setAside ?? lostExports(entries, log) ?? recordedLoss(entries);
    const store = new ServerStore(directory, lmdb, entries, lost);
    await store.record(lost);
    return store;
  }

  get lost(): string | undefined {
    return this.lostBecause;
  }

  /** Forgets the loss once all exports know of it. An export that is not in the store is new from now on. */
  async acceptLoss(): Promise<void> {
    if (this.lostBecause === undefined) return;
    await this.entries.commit([{ key: lostKey, value: undefined }]);
    this.lostBecause = undefined;
  }

  /** Frees memory; see `LmdbStore.unmap`. */
  unmap(): Promise<void> {
    return this.lmdb.unmap();
  }

  async close(): Promise<void> {
    await this.entries.close();
    await noteClosed(this.directory);
  }

  private record(lost: string | undefined): Promise<void> {
    return this.entries.acceptOthers(
      lost === undefined ? [format] : [format, { key: lostKey, value: Buffer.from(lost) }],
    );
  }
}

/** Opens a store for reading only. @throws CodedError STORE_UNUSABLE when it is too damaged to be read */
export async function openToLook(directory: string): Promise<{ store: KeyValueStore; problems: string[] }> {
  const damage = await damageOfStore(directory, { renew: false });
  if (damage !== undefined) throw damaged(directory, damage);
  const lmdb = LmdbStore.open(directory);
  if (isOfFirstFormat(lmdb)) return { store: unsealed(lmdb), problems: [] };
  const store = await SealedStore.over(lmdb);
  const others = store.readOthers();
  return { store, problems: others?.whole === undefined ? [] : [`the store: ${others.whole}`] };
}

async function damageOfStore(directory: string, how: { renew: boolean }): Promise<string | undefined> {
  const path = join(directory, STORE_FILE);
  if (!existsSync(path)) return undefined;
  const obvious = damageOfLmdbFile(path);
  if (obvious !== undefined) return obvious;
  const state = await stateOf(directory);
  if (state === 'as-closed') return undefined;
  if (state === 'head-changed') return 'its first pages have changed since it was closed';
  return walkStore(directory, how);
}

async function moveAside(directory: string, damage: string, log: Log): Promise<string> {
  const aside = `${directory}-damaged-${timeStamp(new Date())}`;
  try {
    await renameDurably(directory, aside);
    mkdirSync(directory, { mode: 0o700 });
  } catch (cause) {
    throw damaged(directory, `${damage}; it cannot be moved aside: ${(cause as Error).message}`);
  }
  log.error(
    { store: directory, movedTo: aside, damage },
    'the bitmap store is damaged and was moved aside. The server starts with an empty store: ' +
      'bitmaps are inconsistent, and the next backups will be full ones',
  );
  return `the store was damaged (${damage}), and the bitmap was lost with it`;
}

function damaged(directory: string, damage: string): CodedError {
  return new CodedError(
    'STORE_UNUSABLE',
    `the store in ${directory} is damaged: ${damage}`,
    'the next start of the server moves it aside; the next backups will be full ones',
  );
}

async function openFormat(directory: string, log: Log): Promise<LmdbStore> {
  const lmdb = LmdbStore.open(directory);
  if (!isOfFirstFormat(lmdb)) return lmdb;
  log.info({ store: directory }, 'the bitmap store has an older format and is being rewritten with checksums');
  return upgradeStore(directory, lmdb, format);
}

function isOfFirstFormat(lmdb: LmdbStore): boolean {
  const stored = lmdb.get(formatKey);
  return stored?.length === 1 && stored[0] === FIRST_FORMAT;
}

/** @throws CodedError STORE_UNUSABLE */
function refuseNewer(entries: SealedStore, directory: string): void {
  const stored = orUndefined(() => entries.get(formatKey)?.[0]) ?? FORMAT_VERSION;
  if (stored <= FORMAT_VERSION) return;
  throw new CodedError(
    'STORE_UNUSABLE',
    `the store in ${directory} has format ${stored}, but this version supports formats up to ${FORMAT_VERSION}`,
    'start the newer tidemark that wrote it, or choose another --state directory',
  );
}

function lostExports(entries: SealedStore, log: Log): string | undefined {
  const others = entries.readOthers();
  if (others?.whole === undefined) return undefined;
  const reason = `the bitmap store is damaged: ${others.whole}`;
  log.error({ damage: others.whole }, 'the bitmap store is damaged: bitmaps that it no longer has are inconsistent');
  return reason;
}

function recordedLoss(entries: SealedStore): string | undefined {
  return orUndefined(() => entries.get(lostKey)?.toString());
}

/** Treats a damaged entry as missing. */
function orUndefined<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
