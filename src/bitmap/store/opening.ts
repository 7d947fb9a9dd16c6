import { CodedError } from '../../base/coded-error.js';
import { formatCount } from '../../base/units.js';
import type { KeyValueStore } from './key-value-store.js';
import { carryOut, type Plan } from './plan.js';
import { wholeOf } from './saving.js';
import type { Note } from './stored-exports.js';

/** What has to be stored before a disk may be written. */
export interface Opening {
  readonly exportName: string;
  readonly plan: Plan;
  readonly notes: readonly Note[];
  /** The plan replaces all entries of the export, and has to be stored in one commit. */
  readonly isDamaged: boolean;
}

/**
 * Stores the openings of several disks. One commit makes all that are not damaged count, after those that store their
 * changed pages. @throws CodedError STORE_UNUSABLE; no disk may be served then
 */
export async function storeTogether(openings: readonly Opening[], store: KeyValueStore): Promise<void> {
  for (const opening of openings) if (opening.isDamaged) await replace(opening, store);
  const plans = openings.flatMap(({ isDamaged, plan }) => (isDamaged ? [] : [plan]));
  const notes = notesOf(openings).map(({ change }) => change);
  if (plans.length + notes.length === 0) return;
  const failure = await carryOut(store, plans, notes);
  if (failure) throw unusable(openings, failure);
}

/** The entry of an export that is being opened says more than a note of another one. */
function notesOf(openings: readonly Opening[]): Note[] {
  const opened = new Set(openings.map(({ exportName }) => exportName));
  return openings.flatMap(({ notes }) => notes.filter(({ exportName }) => !opened.has(exportName)));
}

async function replace(opening: Opening, store: KeyValueStore): Promise<void> {
  try {
    await store.commit(wholeOf(opening.plan));
    opening.plan.accept();
  } catch (error) {
    throw unusable([opening], error as Error);
  }
}

function unusable([first, ...others]: readonly Opening[], cause: Error): CodedError {
  const more = others.length > 0 ? ` and ${formatCount(others.length, 'more export')}` : '';
  return new CodedError(
    'STORE_UNUSABLE',
    `the bitmaps of "${first?.exportName}"${more} cannot be stored: ${cause.message}`,
    'check that the state directory is writable and its disk is not full',
    { cause },
  );
}
