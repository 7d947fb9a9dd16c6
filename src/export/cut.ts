import { channel } from 'node:diagnostics_channel';
import type { HeldWrites } from '../api/transaction.js';
import { changeDurably, type RecordChange } from '../bitmap/store/change-durably.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import type { WriteIntentLog } from '../bitmap/store/write-intent-log.js';
import type { Undo } from '../bitmap/undo.js';
import type { Export } from './export.js';
import { Patience } from './patience.js';

export interface InstantChange {
  /**
   * Makes the change and returns its undo. Must not wait for anything, but a long change may yield to other work.
   * Meanwhile nothing is written to these disks and nothing else changes their bitmaps.
   */
  readonly apply: () => Undo | Promise<Undo>;
  /** Records to store together with the bitmaps. Called after the change is made. */
  readonly records?: () => readonly RecordChange[];
  /** Called before the change, once writes are held back. Writes wait until it resolves. */
  readonly prepare?: (patience: Patience) => Promise<void>;
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
export type FlushScope = 'everything' | 'written-earlier' | 'nothing';

/** The diagnostics channel that receives a `Cut` for each export of every cut. */
export const CUT_CHANNEL = 'tidemark:cut';
const cuts = channel(CUT_CHANNEL);

export interface Cut {
  readonly served: Export;
  /** How long each write that arrived during the cut was held back. */
  readonly heldMilliseconds: readonly number[];
}

/**
 * Changes the bitmaps of some exports at one instant: on all of them, every write is entirely before it or entirely
 * after it. The steps are:
 *
 * 1. Flush, so that the flush in step 4 is short.
 * 2. Wait for the writes in flight, so that a hung disk is found before any write is held back.
 * 3. Hold back new writes and wait for those in flight.
 * 4. Flush again.
 * 5. Make the change and store it.
 * 6. Let the writes continue.
 *
 * Nothing has changed if the change throws, cannot be stored, or a disk does not answer in time. @throws what the
 * change throws; CodedError CUT_TIMED_OUT, FLUSH_FAILED, STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function changeAtOneInstant(exports: Iterable<Export>, change: InstantChange): Promise<HeldWrites> {
  // The order is always the same, so that two changes never wait for each other.
  const inOrder = [...takingPart(exports, change)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const patience = patienceFor(inOrder);
  try {
    return await passAll(inOrder, 0, patience, () => cut(takingPart(inOrder, change), change, patience));
  } finally {
    patience.end();
  }
}

/** The time limit for these exports to answer: the longest of their time-outs. */
export function patienceFor(exports: readonly Export[]): Patience {
  return new Patience(Math.max(0, ...exports.map(({ cutTimeoutSeconds }) => cutTimeoutSeconds)));
}

/** Each export once. Closing may take long, so a change that leaves out closing exports does not wait for them. */
function takingPart(exports: Iterable<Export>, { skipClosed = false }: InstantChange): Export[] {
  return [...new Set(exports)].filter(({ closing }) => !(skipClosed && closing));
}

function passAll<T>(exports: readonly Export[], from: number, patience: Patience, work: () => Promise<T>): Promise<T> {
  const next = exports[from];
  return next ? patience.pass(next, next.cuts, () => passAll(exports, from + 1, patience, work)) : work();
}

async function cut(exports: readonly Export[], change: InstantChange, patience: Patience): Promise<HeldWrites> {
  for (const served of exports) served.assertServed();
  const durable = exports.flatMap(({ persistence }) => persistence ?? []);
  const { flush: scope = 'everything' } = change;
  const all = (ask: (served: Export) => Promise<void>) =>
    Promise.all(exports.map((served) => patience.waitFor(served, ask(served))));
  const flush = () => all(async (served) => served.persistence && served.flush());
  if (scope !== 'nothing') await flush();
  await all(async ({ device, persistence }) => {
    await device.settled();
    await persistence?.intents.idle();
  });
  const quiet = exports.map((served) => [served, served.device.quiesce()] as const);
  let waits: number[] = [];
  try {
    await Promise.all(quiet.map(([served, drained]) => patience.waitFor(served, drained)));
    if (scope === 'everything') await flush();
    await change.prepare?.(patience);
    const store = durable[0]?.store ?? change.store;
    const logs = durable.map(({ intents }) => intents);
    const hold = (log: WriteIntentLog) => holdInTime(log, ownerOf(log, exports), patience);
    if (store) await changeDurably(logs, store, change.apply, change.records, hold);
    else await change.apply();
  } finally {
    waits = exports.flatMap(resume);
  }
  for (const persistence of durable) void persistence.settle();
  return summarize(waits);
}

function ownerOf(log: WriteIntentLog, exports: readonly Export[]): Export {
  return exports.find(({ persistence }) => persistence?.intents === log)!;
}

/** Holding a log may take long, because a commit of it may wait for the disk. */
async function holdInTime(log: WriteIntentLog, served: Export, patience: Patience): Promise<() => void> {
  const held = log.hold();
  try {
    return await patience.waitFor(served, held);
  } catch (error) {
    void held.then((release) => release());
    throw error;
  }
}

function resume(served: Export): number[] {
  const heldMilliseconds = served.device.resume();
  cuts.publish({ served, heldMilliseconds } satisfies Cut);
  return heldMilliseconds;
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
