import { CodedError } from '../../base/coded-error.js';
import { type Undo, undoAll } from '../undo.js';
import type { Change, Key, KeyValueStore } from './key-value-store.js';
import { carryOut, type Plan } from './plan.js';
import type { WriteIntentLog } from './write-intent-log.js';

/** A record that is committed together with a change of bitmaps; undefined: absent. */
export interface RecordChange {
  readonly key: Key;
  readonly value: Buffer | undefined;
  /** The value in the store before the change. */
  readonly before: Buffer | undefined;
}

/** A change of bitmaps, which either takes effect as a whole or is undone. */
export interface BitmapChange<Made> {
  /** Makes the change and pushes the undo of each step. Returns what the change makes. */
  readonly apply: (undos: Undo[]) => Made | Promise<Made>;
  /** The records to store together with the bitmaps. */
  readonly records?: ((made: Made) => readonly RecordChange[]) | undefined;
  /** For a change that stays in memory even if it cannot be stored, and is stored later: the error that says so. */
  readonly stays?: (cause: Error) => CodedError;
}

/** Runs `work` while no other commit of the log is under way. May give up waiting for that, and throw. */
type Pass = <T>(log: WriteIntentLog, work: () => Promise<T>) => Promise<T>;

/**
 * Changes the bitmaps of some disks and stores the result, together with the records of the change, in one commit. If
 * the commit fails, the change is undone, and the undo is stored too, because a failed commit may still have taken
 * effect. Nothing may be written to these disks until this returns, and earlier writes must be durable: otherwise a
 * power loss could bring back old data under granules that are now clean. Without a store, the change is made in memory
 * only. Returns what the change makes. @throws what the change or `pass` throws; CodedError STORE_UNUSABLE,
 * STORE_IN_DOUBT
 */
export function changeDurably<Made>(
  logs: readonly WriteIntentLog[],
  store: KeyValueStore | undefined,
  change: BitmapChange<Made>,
  pass: Pass = (log, work) => log.commits.pass(work),
): Promise<Made> {
  const work = () => makeAndStore(logs, store, change);
  return logs.reduceRight((next, log) => () => pass(log, next), work)();
}

async function makeAndStore<Made>(
  logs: readonly WriteIntentLog[],
  store: KeyValueStore | undefined,
  change: BitmapChange<Made>,
): Promise<Made> {
  const undos: Undo[] = [];
  const { made, records } = await make(change, undos, logs);
  const failure = await save(logs, store, records);
  if (!failure) return made;
  if (change.stays) throw change.stays(failure);
  takeBack(undos, logs);
  const back = records.map(({ key, before }) => ({ key, value: before }));
  throw refusal(failure, await save(logs, store, back));
}

/** If a step or the records cannot be made, the steps before are undone. */
async function make<Made>(
  { apply, records }: BitmapChange<Made>,
  undos: Undo[],
  logs: readonly WriteIntentLog[],
): Promise<{ made: Made; records: readonly RecordChange[] }> {
  try {
    const made = await apply(undos);
    return { made, records: records?.(made) ?? [] };
  } catch (error) {
    takeBack(undos, logs);
    throw error;
  }
}

/** If the undo fails, which is a bug, the bitmaps can no longer be trusted. */
function takeBack(undos: Undo[], logs: readonly WriteIntentLog[]): void {
  try {
    undoAll(undos);
  } catch (bug) {
    for (const { commits } of logs) commits.distrust(bug);
  }
}

/** Stores what memory says. Returns the error, if any. */
async function save(
  logs: readonly WriteIntentLog[],
  store: KeyValueStore | undefined,
  records: readonly Change[],
): Promise<Error | undefined> {
  if (!store) return undefined;
  let plans: Plan[];
  try {
    plans = logs.map(({ commits }) => commits.plan());
  } catch (bug) {
    for (const { commits } of logs) commits.doubt();
    return bug as Error;
  }
  return carryOut(store, plans, records);
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
