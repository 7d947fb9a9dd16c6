import { channel } from 'node:diagnostics_channel';
import { changeDurably, type RecordChange } from '../bitmap/store/change-durably.js';
import type { KeyValueStore } from '../bitmap/store/key-value-store.js';
import type { WriteIntentLog } from '../bitmap/store/write-intent-log.js';
import type { Undo } from '../bitmap/undo.js';
import type { Export } from './export.js';
import { Patience } from './patience.js';

/** How long writes were held back, for those that came meanwhile; times in milliseconds. */
export interface HeldWrites {
  readonly count: number;
  readonly medianMilliseconds: number;
  readonly p99Milliseconds: number;
  readonly maxMilliseconds: number;
}

export interface InstantChange {
  /**
   * Makes the change. Returns what takes it back. It waits for nothing, though it may give way to others where it is long:
   * meanwhile nothing is written to these disks, and nobody else changes their bitmaps.
   */
  readonly apply: () => Undo | Promise<Undo>;
  /** What the store is to hold from then on, besides the bitmaps; asked for once the change is made. */
  readonly records?: () => readonly RecordChange[];
  /** Called before, when nothing changes on the disks any more; while it takes its time, writes wait. */
  readonly prepare?: (patience: Patience) => Promise<void>;
  /** Unless it is said, all that was written before the instant is flushed. */
  readonly flush?: FlushScope;
  /** Exports that are being closed are left out, rather than refused; their bitmaps are as they were stored last. */
  readonly skipClosed?: boolean;
  /** Where the records go when no export that takes part has a store. */
  readonly store?: KeyValueStore | undefined;
}

/**
 * What has to be durable before a change is. A granule that a change calls clean must have its data on the medium: else
 * a power loss could bring back what was there before, and nobody would know. So 'nothing' does for a change that calls
 * nothing clean, and 'written-earlier', what was written when the change was asked for, for one that calls clean only
 * what has not been written for longer than that.
 */
export type FlushScope = 'everything' | 'written-earlier' | 'nothing';

/** The diagnostics channel on which every cut is told, a `Cut` for each export. */
export const CUT_CHANNEL = 'tidemark:cut';
const cuts = channel(CUT_CHANNEL);

export interface Cut {
  readonly served: Export;
  /** How long each write was held back that came meanwhile. */
  readonly heldMilliseconds: readonly number[];
}

/**
 * Changes bitmaps of some exports at one instant: every write is wholly before it or wholly after, on all of them. In
 * order: flush, so that the next one is short; wait for the writes in flight, so that a disk that hangs is found before any
 * writes are held back; hold back new writes and wait for those in flight; flush again; change, durably; let the writes go on.
 * When the change throws, cannot be stored, or a disk does not answer in time, nothing has happened. @throws what it
 * throws; CodedError CUT_TIMED_OUT, FLUSH_FAILED, STORE_UNUSABLE, STORE_IN_DOUBT
 */
export async function changeAtOneInstant(exports: Iterable<Export>, change: InstantChange): Promise<HeldWrites> {
  // Always in the same order, so that two changes never wait for each other.
  const inOrder = [...takingPart(exports, change)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const patience = patienceFor(inOrder);
  try {
    return await passAll(inOrder, 0, patience, () => cut(takingPart(inOrder, change), change, patience));
  } finally {
    patience.end();
  }
}

/** How long these may take to answer. */
export function patienceFor(exports: readonly Export[]): Patience {
  return new Patience(Math.max(0, ...exports.map(({ cutTimeoutSeconds }) => cutTimeoutSeconds)));
}

/** Each once. One that is being closed may take long over it, so nobody waits for its turn who leaves it out. */
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

/** A commit of a log may wait for its disk, whose state it stores. */
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
