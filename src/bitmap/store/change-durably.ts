import { CodedError } from '../../base/coded-error.js';
import type { Undo } from '../undo.js';
import type { Change, Key, KeyValueStore } from './key-value-store.js';
import type { WriteIntentLog } from './write-intent-log.js';

/** What goes into the same commit as a change of bitmaps; undefined: not there. */
export interface RecordChange {
  readonly key: Key;
  readonly value: Buffer | undefined;
  /** What the store says so far. */
  readonly before: Buffer | undefined;
}

/**
 * Changes the bitmaps of some disks by `apply`, and makes that durable in one commit, with the records that then hold. If the commit fails the change
 * is taken back, in the store as well, for a commit that failed may yet have taken effect. Nothing may be written to
 * these disks meanwhile, and what was written before must be durable: else a power loss could bring back old data under
 * granules that are clean now. `hold` may give up waiting for a log. @throws what `apply` or `hold` throws; CodedError STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function changeDurably(
  logs: readonly WriteIntentLog[],
  store: KeyValueStore,
  apply: () => Undo | Promise<Undo>,
  records: () => readonly RecordChange[] = () => [],
  hold: (log: WriteIntentLog) => Promise<() => void> = (log) => log.hold(),
): Promise<void> {
  const holds = logs.map(hold);
  try {
    await Promise.all(holds);
    const applied = apply();
    const undo = applied instanceof Promise ? await applied : applied;
    const also = recordsOf(logs, records, undo);
    const failure = await save(logs, store, also);
    if (!failure) return;
    takeBack(logs, undo);
    const back = also.map(({ key, before }) => ({ key, value: before }));
    throw refusal(failure, await save(logs, store, back));
  } finally {
    // Also those that are had only now, should another one not have been had in time.
    for (const held of holds) held.then((release) => release()).catch(() => {});
  }
}

/** What goes into the commit besides the bitmaps. Should it not be had, the change is taken back. */
function recordsOf(
  logs: readonly WriteIntentLog[],
  records: () => readonly RecordChange[],
  undo: Undo,
): readonly RecordChange[] {
  try {
    return records();
  } catch (error) {
    takeBack(logs, undo);
    throw error;
  }
}

/** A change that cannot be taken back, which is a bug, leaves bitmaps of which nobody knows what they count from. */
function takeBack(logs: readonly WriteIntentLog[], undo: Undo): void {
  try {
    undo();
  } catch (bug) {
    for (const log of logs) log.distrust(bug);
  }
}

/** Makes the store say what memory says. Returns what went wrong. */
async function save(
  logs: readonly WriteIntentLog[],
  store: KeyValueStore,
  records: readonly Change[],
): Promise<Error | undefined> {
  try {
    await store.commit([...logs.flatMap((log) => log.changes()), ...records]);
  } catch (error) {
    for (const log of logs) log.settled(false);
    return error as Error;
  }
  for (const log of logs) log.settled(true);
  return undefined;
}

function refusal(cause: Error, notTakenBack: Error | undefined): CodedError {
  const hint = 'see that the state directory is writable and its disk not full, then try again';
  return notTakenBack
    ? new CodedError(
        'STORE_IN_DOUBT',
        `the change could not be stored, nor taken back; after a crash it may hold or not: ${cause.message}`,
        hint,
        { cause },
      )
    : new CodedError('STORE_UNUSABLE', `the change could not be stored, and is taken back: ${cause.message}`, hint, {
        cause,
      });
}
