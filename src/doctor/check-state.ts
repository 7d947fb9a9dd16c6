import { stat } from 'node:fs/promises';
import { readRecords } from '../backup/record-store.js';
import { CodedError } from '../base/coded-error.js';
import { silentLog } from '../base/log.js';
import { inspectStore, type StoreReport } from '../bitmap/store/inspect-store.js';
import { openToLook } from '../bitmap/store/open-store.js';
import { loadPosix } from '../posix/posix.js';
import { StateDirectory, storeIn } from '../server/state-directory.js';

/** The content of a state directory, and the inconsistencies in it. */
export interface StateReport extends StoreReport {
  readonly backups: readonly StoredBackupReport[];
}

interface StoredBackupReport {
  readonly id: string;
  readonly bitmap: string;
  readonly state: string;
  readonly exports: readonly string[];
}

/**
 * Reads a state directory that no server is using, and reports its content and any inconsistencies. Changes nothing.
 * @throws CodedError STORE_UNUSABLE if there is no state or it is in use
 */
export async function checkState(directory: string): Promise<StateReport> {
  await stat(storeIn(directory)).catch(() => {
    throw new CodedError(
      'STORE_UNUSABLE',
      `there is no state in ${directory}`,
      'name the state directory with --state DIR',
    );
  });
  const lock = await StateDirectory.lock(directory, loadPosix(), silentLog);
  try {
    const { store, problems } = await openToLook(storeIn(directory));
    try {
      const report = inspectStore(store);
      return withBackups({ ...report, problems: [...problems, ...report.problems] }, readRecords(store));
    } finally {
      await store.close();
    }
  } finally {
    await lock.run();
  }
}

function withBackups(report: StoreReport, { records, unreadable }: ReturnType<typeof readRecords>): StateReport {
  const backups = records.map(({ id, bitmap, state, parts }) => ({
    id,
    bitmap,
    state,
    exports: parts.map((part) => part.export),
  }));
  const active = backups.filter(({ state }) => state === 'active');
  const holds = (exportName: string, bitmap: string) =>
    active.some((backup) => backup.bitmap === bitmap && backup.exports.includes(exportName));
  const stray = report.exports.flatMap(({ name, bitmaps }) =>
    bitmaps
      .filter((bitmap) => bitmap.frozen && !holds(name, bitmap.name))
      .map((bitmap) => `export "${name}": bitmap "${bitmap.name}" is frozen, but no backup is using it`),
  );
  const problems = [...report.problems, ...unreadable.map((id) => `backup ${id} cannot be read`), ...stray];
  return { ...report, backups, problems };
}
