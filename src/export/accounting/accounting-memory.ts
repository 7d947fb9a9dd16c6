import { MAX_LATENCY_BOUNDS } from '../../api/values.js';
import { assert } from '../../base/assert.js';

/**
 * What one client has done with its disk, in numbers that every thread can read. Only the thread that serves the client
 * writes them, except that the owner of the disk sets the bounds. All are doubles, which do not tear.
 *
 * For each command: OPERATIONS, BYTES, FAILED, INVALID, MILLISECONDS, then the bins of its latency histogram. Behind them
 * the numbers of the client, and the bounds between the bins.
 */
export type AccountingMemory = Float64Array<SharedArrayBuffer>;

/**
 * Each at the number that its command has in NBD. `other` is at that of NBD_CMD_DISC, which is not accounted: commands
 * that there are not.
 */
export const accountedCommands = ['read', 'write', 'other', 'flush', 'trim', 'cache', 'zero', 'status'] as const;
export type AccountedCommand = (typeof accountedCommands)[number];
export const OTHER_COMMANDS = 2;

/** In milliseconds. */
export const DEFAULT_BOUNDS: readonly number[] = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 500, 1000, 5000];

export const OPERATIONS = 0;
export const BYTES = 1;
export const FAILED = 2;
/** Refused before they reached the disk. */
export const INVALID = 3;
export const MILLISECONDS = 4;
export const BINS = 5;
/** The slots of one command. */
export const PER_COMMAND = BINS + MAX_LATENCY_BOUNDS + 1;

/** Valid requests that have begun. */
export const REQUESTS = accountedCommands.length * PER_COMMAND;
/** Requests that wait for the disk now. */
export const IN_FLIGHT = REQUESTS + 1;
/** In milliseconds on the clock that threads share; 0: there was none. */
export const LAST_ACCESS = REQUESTS + 2;
/** The largest end of a successful write. */
export const HIGHEST_END = REQUESTS + 3;
export const BOUND_COUNT = REQUESTS + 4;
export const BOUNDS = REQUESTS + 5;
const SLOTS = BOUNDS + MAX_LATENCY_BOUNDS;

/** `bounds`: in milliseconds, rising. */
export function newAccountingMemory(bounds: readonly number[]): AccountingMemory {
  assert(bounds.length <= MAX_LATENCY_BOUNDS, 'the bounds fit');
  const memory = new Float64Array(new SharedArrayBuffer(SLOTS * Float64Array.BYTES_PER_ELEMENT));
  memory[BOUND_COUNT] = bounds.length;
  memory.set(bounds, BOUNDS);
  return memory;
}

/**
 * Begins new histograms with these bounds, as QEMU does. A request that another thread accounts for meanwhile may get into
 * a bin of them.
 */
export function resetLatency(memory: AccountingMemory, bounds: readonly number[]): void {
  for (let at = 0; at < REQUESTS; at += PER_COMMAND) memory.fill(0, at + BINS, at + PER_COMMAND);
  memory[BOUND_COUNT] = bounds.length;
  memory.set(bounds, BOUNDS);
}

/** Adds what a client has done. Both have the same bounds. */
export function addAccounting(total: AccountingMemory, client: AccountingMemory): void {
  for (let at = 0; at <= IN_FLIGHT; at++) total[at]! += client[at]!;
  total[LAST_ACCESS] = Math.max(total[LAST_ACCESS]!, client[LAST_ACCESS]!);
  total[HIGHEST_END] = Math.max(total[HIGHEST_END]!, client[HIGHEST_END]!);
}
