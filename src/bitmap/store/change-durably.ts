import { CodedError } from '../../base/coded-error.js';
import type { Undo } from '../undo.js';
import type { Change, Key, KeyValueStore } from './key-value-store.js';
import type { WriteIntentLog } from './write-intent-log.js';

/** A record that is committed together with a change of bitmaps; undefined: absent. */
export interface RecordChange {
  readonly key: Key;
  readonly value: Buffer | undefined;
  /** The value in the store before the change. */
  readonly before: Buffer | undefined;
}

/**
 * Changes the bitmaps of some disks with `apply` and stores the result, together with `records`, in one commit. If the
 * commit fails, the change is undone, and the undo is stored too, because a failed commit may still have taken effect.
 * Nothing may be written to these disks until this returns, and earlier writes must be durable: otherwise a power loss
 * could bring back old data under granules that are now clean. `hold` may give up waiting for a log.
 * @throws what `apply` or `hold` throws; CodedError STORE_UNUSABLE, STORE_IN_DOUBT
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
    // A hold may be granted only now, after another one was not granted in time.
    for (const held of holds) held.then((release) => release()).catch(() => {});
  }
}

/** The records for the commit. If they cannot be made, the change is undone. */
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

/** If the undo fails, which is a bug, the bitmaps can no longer be trusted. */
function takeBack(logs: readonly WriteIntentLog[], undo: Undo): void {
  try {
    undo();
  } catch (bug) {
    for (const log of logs) log.distrust(bug);
  }
}

/** Stores the state in memory. Returns the error, if any. */
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
  const hint = 'check that the state directory is writable and its disk is not full, then try again';
  return notTakenBack
    ? new CodedError(
        'STORE_IN_DOUBT',
        `the change could not be stored or undone; after a crash it may or may not be in effect: ${cause.message}`,
        hint,
        { cause },
      )
    : new CodedError('STORE_UNUSABLE', `the change could not be stored and was undone: ${cause.message}`, hint, {
        cause,
      });
}
