import { CodedError } from '../../base/coded-error.js';
import { type Undo, undoAll } from '../undo.js';
import type { DiskCommits } from './disk-commits.js';
import type { Change, Key, KeyValueStore } from './key-value-store.js';
import { carryOut, type Plan } from './plan.js';

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

/** Runs `work` while no other commit of the disk is under way. May give up waiting for that, and throw. */
type Pass = <T>(disk: DiskCommits, work: () => Promise<T>) => Promise<T>;

/**
 * Changes the bitmaps of some disks and stores the result, together with the records of the change, in one commit. If
 * the commit fails, the change is undone, and the undo is stored too, because a failed commit may still have taken
 * effect. Nothing may be written to these disks until this returns, and earlier writes must be durable: otherwise a
 * power loss could bring back old data under granules that are now clean. Without a store, the change is made in memory
 * only. Returns what the change makes. @throws what the change or `pass` throws; CodedError STORE_UNUSABLE,
 * STORE_IN_DOUBT
 */
export function changeDurably<Made>(
  disks: readonly DiskCommits[],
  store: KeyValueStore | undefined,
  change: BitmapChange<Made>,
  pass: Pass = (disk, work) => disk.pass(work),
): Promise<Made> {
  const work = () => makeAndStore(disks, store, change);
  return disks.reduceRight((next, disk) => () => pass(disk, next), work)();
}

async function makeAndStore<Made>(
  disks: readonly DiskCommits[],
  store: KeyValueStore | undefined,
  change: BitmapChange<Made>,
): Promise<Made> {
  const undos: Undo[] = [];
  const { made, records } = await make(change, undos, disks);
  const failure = await save(disks, store, records);
  if (!failure) return made;
  if (change.stays) throw change.stays(failure);
  takeBack(undos, disks);
  const back = records.map(({ key, before }) => ({ key, value: before }));
  throw refusal(failure, await save(disks, store, back));
}

/** If a step or the records cannot be made, the steps before are undone. */
async function make<Made>(
  { apply, records, stays }: BitmapChange<Made>,
  undos: Undo[],
  disks: readonly DiskCommits[],
): Promise<{ made: Made; records: readonly RecordChange[] }> {
  try {
    const made = await apply(undos);
    return { made, records: records?.(made) ?? [] };
  } catch (error) {
    // A refusal comes before the first step. With a bug, such a change may have been made halfway.
    if (stays && !(error instanceof CodedError)) for (const disk of disks) disk.distrust(error);
    takeBack(undos, disks);
    throw error;
  }
}

/** If the undo fails, which is a bug, the bitmaps can no longer be trusted. */
function takeBack(undos: Undo[], disks: readonly DiskCommits[]): void {
  try {
    undoAll(undos);
  } catch (bug) {
    for (const disk of disks) disk.distrust(bug);
  }
}

/** Stores what memory says. Returns the error, if any. */
async function save(
  disks: readonly DiskCommits[],
  store: KeyValueStore | undefined,
  records: readonly Change[],
): Promise<Error | undefined> {
  if (!store) return undefined;
  let plans: Plan[];
  try {
    plans = disks.map((disk) => disk.plan());
  } catch (bug) {
    for (const disk of disks) disk.doubt();
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
