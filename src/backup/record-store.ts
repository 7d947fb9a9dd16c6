import { CodedError } from '../base/coded-error.js';
import type { RecordChange } from '../bitmap/store/change-durably.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import { backupKey, everyBackup } from '../bitmap/store/keys.js';
import type { BackupRecord } from './backup-record.js';

export type { RecordChange };

/** Ended backups are remembered for whoever asks again; of more than these the oldest are forgotten. */
const REMEMBERED = 200;

/** What is known of every backup, ended ones included, in memory and, where there is a store, in that. */
export class RecordStore {
  private readonly records = new Map<string, BackupRecord>();

  private constructor() {}

  /**
   * Reads what the store has. A backup that was active then ended with its server, and is stored as aborted.
   * @throws CodedError STORE_UNUSABLE when that cannot be stored
   */
  static async open(store: KeyValueStore | undefined): Promise<RecordStore> {
    const opened = new RecordStore();
    if (!store) return opened;
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
    }
    if (changes.length > 0) await store.commit(changes).catch(refuse);
    return opened;
  }

  /** Oldest first. */
  list(): BackupRecord[] {
    return [...this.records.values()];
  }

  find(id: string): BackupRecord | undefined {
    return this.records.get(id);
  }

  /** What makes the store say it; call `hold` once that is so. */
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

  /** Of each bitmap of each export: it may count from that one, however long ago it was. */
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
    `how backups have ended cannot be stored: ${cause.message}`,
    'check that the state directory is writable and its disk is not full',
    { cause },
  );
}

/** Every backup that a store has, oldest first; `unreadable` are the ids of those that make no sense. */
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
