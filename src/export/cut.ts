import { channel } from 'node:diagnostics_channel';
import type { HeldWrites } from '../api/transaction.js';
import { assert } from '../base/assert.js';
import { type BitmapChange, changeDurably } from '../bitmap/store/change-durably.js';
import type { DiskCommits } from '../bitmap/store/disk-commits.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import type { Undo } from '../bitmap/undo.js';
import type { Export } from './export.js';
import { Patience } from './patience.js';
import type { QuietExport } from './quiet-export.js';

export interface InstantChange<Made> extends Pick<BitmapChange<Made>, 'records'> {
  /**
   * Makes the change and pushes the undo of each step. Returns what the change makes. May wait for a disk with the
   * patience of the instant, and may yield to other work. Meanwhile nothing is written to these disks and nothing else
   * changes their bitmaps.
   */
  readonly apply: (undos: Undo[], instant: Instant) => Made | Promise<Made>;
  /** By default 'everything'. */
  readonly flush?: FlushScope;
  /** Leave out exports that are being closed instead of failing; their bitmaps stay as they were last stored. */
  readonly skipClosed?: boolean;
  /** The store for the records if no participating export has one. */
  readonly store?: KeyValueStore | undefined;
}

/**
 * What must be flushed before a change. The data of a granule that becomes clean must be durable: otherwise a power
 * loss could bring back the old data unnoticed. 'nothing' is enough for a change that makes nothing clean.
 * 'written-earlier', everything written before the change was requested, is enough for a change that makes clean only
 * what was written before that.
 */
type FlushScope = 'everything' | 'written-earlier' | 'nothing';

/** The instant of a cut, as long as writes are held back. */
export class Instant {
  constructor(
    private readonly exports: ReadonlyMap<Export, QuietExport>,
    readonly patience: Patience,
  ) {}

  /** The inside of an export; undefined if the export is left out because it is being closed. */
  find(served: Export): QuietExport | undefined {
    return this.exports.get(served);
  }

  /** The inside of an export that takes part. */
  get(served: Export): QuietExport {
    const quiet = this.exports.get(served);
    assert(quiet !== undefined, 'only an export that takes part in a cut can be changed');
    return quiet;
  }
}

/** The diagnostics channel that receives `ExportHeldBack` for each export of every cut. */
export const HELD_BACK_CHANNEL = 'tidemark:held-back';
const heldBack = channel(HELD_BACK_CHANNEL);

export interface ExportHeldBack {
  readonly served: Export;
  /** How long each write that arrived during the cut was held back. */
  readonly milliseconds: readonly number[];
}

/**
 * A cut: changes the bitmaps of some exports at one instant. On all of them, every write is entirely before it or
 * entirely after it. The steps are:
 *
 * 1. Flush, so that the flush in step 4 is short.
 * 2. Wait for the writes in flight, so that a hung disk is found before any write is held back.
 * 3. Hold back new writes and wait for those in flight.
 * 4. Flush again.
 * 5. Make the change and store it.
 * 6. Let the writes continue.
 *
 * Nothing has changed if the change throws, cannot be stored, or a disk does not answer in time. Returns what the
 * change makes. @throws what the change throws; CodedError CUT_TIMED_OUT, FLUSH_FAILED, STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function changeAtOneInstant<Made>(
  exports: Iterable<Export>,
  change: InstantChange<Made>,
): Promise<{ made: Made; held: HeldWrites }> {
  // The order is always the same, so that two changes never wait for each other.
  const inOrder = [...takingPart(exports, change)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const patience = patienceFor(inOrder);
  try {
    return await inEveryTurn(inOrder, patience, () => changeInTurn(takingPart(inOrder, change), change, patience));
  } finally {
    patience.end();
  }
}

/** The time limit for these exports to answer: the longest of their time-outs. */
export function patienceFor(exports: readonly Export[]): Patience {
  return new Patience(Math.max(0, ...exports.map(({ cutTimeoutSeconds }) => cutTimeoutSeconds)));
}

/** Each export once. Closing may take long, so a change that leaves out closing exports does not wait for them. */
function takingPart(exports: Iterable<Export>, { skipClosed = false }: { skipClosed?: boolean }): Export[] {
  return [...new Set(exports)].filter(({ closing }) => !(skipClosed && closing));
}

function inEveryTurn<T>([next, ...others]: Export[], patience: Patience, work: () => Promise<T>): Promise<T> {
  return next ? next.inTurn(() => inEveryTurn(others, patience, work), patience) : work();
}

async function changeInTurn<Made>(
  exports: readonly Export[],
  change: InstantChange<Made>,
  patience: Patience,
): Promise<{ made: Made; held: HeldWrites }> {
  for (const served of exports) served.assertServed();
  const { flush: scope = 'everything' } = change;
  const all = (ask: (served: Export) => Promise<void>) =>
    Promise.all(exports.map((served) => patience.waitFor(served, ask(served))));
  if (scope !== 'nothing') await all((served) => served.flushForBitmaps());
  await all((served) => served.settled());
  const quiet = new Map(exports.map((served) => [served, served.quiesce()]));
  let made: Made;
  let waits: number[] = [];
  try {
    await Promise.all([...quiet].map(([served, { drained }]) => patience.waitFor(served, drained)));
    if (scope === 'everything') await all((served) => served.flushForBitmaps());
    made = await applyDurably(quiet, change, patience);
  } finally {
    waits = [...quiet].flatMap(resume);
  }
  for (const { persistence } of quiet.values()) void persistence?.settle();
  return { made, held: summarize(waits) };
}

function applyDurably<Made>(
  quiet: ReadonlyMap<Export, QuietExport>,
  { apply, records, store }: InstantChange<Made>,
  patience: Patience,
): Promise<Made> {
  const durable = [...quiet].flatMap(([served, { persistence }]) => (persistence ? [{ served, persistence }] : []));
  const owners = new Map(durable.map(({ served, persistence: { commits } }) => [commits, served]));
  // This may take long, because a commit that is under way may wait for the disk.
  const pass = <T>(disk: DiskCommits, work: () => Promise<T>) => patience.pass(owners.get(disk)!, disk, work);
  const instant = new Instant(quiet, patience);
  return changeDurably(
    [...owners.keys()],
    durable[0]?.persistence.store ?? store,
    { apply: (undos) => apply(undos, instant), records },
    pass,
  );
}

function resume([served, quiet]: [Export, QuietExport]): number[] {
  const milliseconds = quiet.resume();
  heldBack.publish({ served, milliseconds } satisfies ExportHeldBack);
  return milliseconds;
}

function summarize(waits: readonly number[]): HeldWrites {
  const sorted = [...waits].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  return {
    count: sorted.length,
    medianMilliseconds: at(0.5),
    p99Milliseconds: at(0.99),
    maxMilliseconds: at(1),
  };
}
