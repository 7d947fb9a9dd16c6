import { CodedError } from '../base/coded-error.js';
import type { RecordChange } from '../bitmap/store/change-durably.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { backupKey, everyBackup } from '../bitmap/store/keys.js';
import type { BackupRecord } from './backup-record.js';

export type { RecordChange };

/** How many ended backups are remembered; older ones are forgotten. */
const REMEMBERED = 200;

/** The records of all backups, including ended ones, in memory and, if there is a store, in the store. */
export class RecordStore {
  private readonly records = new Map<string, BackupRecord>();

  private constructor() {}

  /**
   * Reads the records from the store. Backups that were active ended with the server, and are stored as aborted; these
   * are returned too.
   * @throws CodedError STORE_UNUSABLE when that cannot be stored
   */
  static async open(
    store: KeyValueStore | undefined,
  ): Promise<{ records: RecordStore; aborted: readonly BackupRecord[] }> {
    const opened = new RecordStore();
    const aborted: BackupRecord[] = [];
    if (!store) return { records: opened, aborted };
    const endedAt = new Date().toISOString();
    const changes: RecordChange[] = [];
    for (const before of readRecords(store).records) {
      opened.records.set(before.id, before);
      if (before.state !== 'active') continue;
      const detail = 'the server was started again while the backup was under way';
      const record = {
        ...before,
        state: 'aborted',
        endedAt,
        endReason: 'server-restarted',
        endDetail: detail,
      } as const;
      changes.push(...opened.changes(record));
      opened.hold(record);
      aborted.push(record);
    }
    if (changes.length > 0) await store.commit(changes).catch(refuse);
    return { records: opened, aborted };
  }

  /** Oldest first. */
  list(): BackupRecord[] {
    return [...this.records.values()];
  }

  find(id: string): BackupRecord | undefined {
    return this.records.get(id);
  }

  /** The changes that store a record. Call `hold` after they are committed. */
  changes(record: BackupRecord): RecordChange[] {
    const change = (id: string, value: BackupRecord | undefined): RecordChange => {
      const before = this.records.get(id);
      return { key: backupKey(id), value: value && encode(value), before: before && encode(before) };
    };
    return [change(record.id, record), ...this.forgotten().map((id) => change(id, undefined))];
  }

  hold(record: BackupRecord): void {
    for (const id of this.forgotten()) this.records.delete(id);
    this.records.set(record.id, record);
  }

  private forgotten(): string[] {
    const ended = this.list().filter(({ state }) => state !== 'active');
    const tooMany = ended.slice(0, Math.max(0, ended.length - REMEMBERED)).map(({ id }) => id);
    if (tooMany.length === 0) return tooMany;
    const bases = this.newestCommitted();
    return tooMany.filter((id) => !bases.has(id));
  }

  /** The newest committed backup of each bitmap of each export. The bitmap may count from it, however old it is. */
  private newestCommitted(): Set<string> {
    const newest = new Map<string, string>();
    for (const { id, state, bitmap, parts } of this.records.values()) {
      if (state === 'committed') for (const part of parts) newest.set(JSON.stringify([part.export, bitmap]), id);
    }
    return new Set(newest.values());
  }
}

function refuse(cause: Error): never {
  throw new CodedError(
    'STORE_UNUSABLE',
    `the backups that ended with the last server cannot be stored as aborted: ${cause.message}`,
    'check that the state directory is writable and its disk is not full',
    { cause },
  );
}

/** All records in a store, oldest first; `unreadable` lists the ids of records that cannot be read. */
export function readRecords(store: KeyValueStore): { records: BackupRecord[]; unreadable: string[] } {
  const records: BackupRecord[] = [];
  const unreadable: string[] = [];
  for (const key of store.keys(everyBackup)) {
    try {
      records.push(JSON.parse(store.get(key)!.toString()) as BackupRecord);
    } catch {
      unreadable.push(String(key.at(-1)));
    }
  }
  return { records, unreadable };
}

function encode(record: BackupRecord): Buffer {
  return Buffer.from(JSON.stringify(record));
}
