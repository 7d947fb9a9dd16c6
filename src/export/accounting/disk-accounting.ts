import type { Connection } from '../../api/export.js';
import {
  type AccountingMemory,
  accountedCommands,
  addAccounting,
  BYTES,
  DEFAULT_BOUNDS,
  FAILED,
  IN_FLIGHT,
  INVALID,
  newAccountingMemory,
  OPERATIONS,
  PER_COMMAND,
  REQUESTS,
  resetLatency,
} from './accounting-memory.js';

/** What clients have done, in four numbers. */
export type ClientCounters = Pick<Connection, 'requests' | 'failedRequests' | 'bytesRead' | 'bytesWritten'>;

const READ_BYTES = accountedCommands.indexOf('read') * PER_COMMAND + BYTES;
const CHANGES = (['write', 'zero', 'trim'] as const).map((command) => accountedCommands.indexOf(command) * PER_COMMAND);
const WRITTEN_BYTES = accountedCommands.indexOf('write') * PER_COMMAND + BYTES;

export function countersOf(memory: AccountingMemory): ClientCounters {
  let failedRequests = 0;
  for (let at = 0; at < REQUESTS; at += PER_COMMAND) failedRequests += memory[at + FAILED]! + memory[at + INVALID]!;
  return {
    requests: memory[REQUESTS]!,
    failedRequests,
    bytesRead: memory[READ_BYTES]!,
    bytesWritten: memory[WRITTEN_BYTES]!,
  };
}

/** Whether the client has written, zeroed or trimmed anything. */
export function hasChangedDisk(memory: AccountingMemory): boolean {
  return CHANGES.some((at) => memory[at + OPERATIONS]! > 0);
}

/** What the clients of a disk have done, including those that have gone. */
export class DiskAccounting {
  /** What those that have gone did; undefined while there are none. */
  private past: AccountingMemory | undefined;

  /** `current`: the bounds of the latency histograms, in milliseconds. */
  constructor(private current: readonly number[] = DEFAULT_BOUNDS) {}

  get bounds(): readonly number[] {
    return this.current;
  }

  /** Begins new histograms. `clients`: as in `total`. */
  useBounds(bounds: readonly number[], clients: readonly AccountingMemory[]): void {
    this.current = bounds;
    for (const memory of this.withPast(clients)) resetLatency(memory, bounds);
  }

  clientHasGone(memory: AccountingMemory): void {
    this.past ??= newAccountingMemory(this.bounds);
    addAccounting(this.past, memory);
    // If its thread has died, its requests have not been answered, and are not waiting either.
    this.past[IN_FLIGHT] = 0;
  }

  /** `clients`: those that are connected. */
  total(clients: readonly AccountingMemory[]): AccountingMemory {
    const total = newAccountingMemory(this.bounds);
    for (const memory of this.withPast(clients)) addAccounting(total, memory);
    return total;
  }

  counters(clients: readonly AccountingMemory[]): ClientCounters {
    const total = { requests: 0, failedRequests: 0, bytesRead: 0, bytesWritten: 0 };
    for (const memory of this.withPast(clients)) {
      const { requests, failedRequests, bytesRead, bytesWritten } = countersOf(memory);
      total.requests += requests;
      total.failedRequests += failedRequests;
      total.bytesRead += bytesRead;
      total.bytesWritten += bytesWritten;
    }
    return total;
  }

  private withPast(clients: readonly AccountingMemory[]): readonly AccountingMemory[] {
    return this.past ? [this.past, ...clients] : clients;
  }
}
