import type { CommandStatistics, Statistics } from '../../api/statistics.js';
import { onSharedClock } from '../../base/monotonic-clock.js';
import {
  type AccountedCommand,
  type AccountingMemory,
  accountedCommands,
  BINS,
  BOUND_COUNT,
  BOUNDS,
  BYTES,
  FAILED,
  HIGHEST_END,
  IN_FLIGHT,
  INVALID,
  LAST_ACCESS,
  MILLISECONDS,
  OPERATIONS,
  PER_COMMAND,
} from './accounting-memory.js';

/** What is not in the memory of clients. */
export interface FromElsewhere {
  /** Flushes that shared the flush of the file with another. */
  readonly mergedFlushes?: number | undefined;
}

/** The memory in words, for people and programs. `withLatency`: with the histograms. */
export function describeAccounting(
  memory: AccountingMemory,
  withLatency: boolean,
  { mergedFlushes }: FromElsewhere = {},
): Statistics {
  const commands: Partial<Record<AccountedCommand, CommandStatistics>> = {};
  accountedCommands.forEach((command, number) => {
    const merged = command === 'flush' ? mergedFlushes : undefined;
    if (!isUsed(memory, number) && !merged) return;
    commands[command] = describeCommand(memory, number, withLatency, merged);
  });
  const lastAccess = memory[LAST_ACCESS]!;
  const idleMilliseconds = Math.max(0, onSharedClock(performance.now()) - lastAccess);
  return {
    commands,
    inFlight: memory[IN_FLIGHT]!,
    highestOffset: memory[HIGHEST_END]!,
    idleSeconds: lastAccess === 0 ? null : idleMilliseconds / 1000,
  };
}

function isUsed(memory: AccountingMemory, command: number): boolean {
  const at = command * PER_COMMAND;
  return memory[at + OPERATIONS]! + memory[at + FAILED]! + memory[at + INVALID]! > 0;
}

function describeCommand(
  memory: AccountingMemory,
  command: number,
  withLatency: boolean,
  merged: number | undefined,
): CommandStatistics {
  const at = command * PER_COMMAND;
  const bounds = memory[BOUND_COUNT]!;
  const latency = {
    boundsSeconds: [...memory.subarray(BOUNDS, BOUNDS + bounds)].map((milliseconds) => milliseconds / 1000),
    counts: [...memory.subarray(at + BINS, at + BINS + bounds + 1)],
  };
  return {
    operations: memory[at + OPERATIONS]!,
    bytes: memory[at + BYTES]!,
    failed: memory[at + FAILED]!,
    invalid: memory[at + INVALID]!,
    ...(merged !== undefined && { merged }),
    seconds: memory[at + MILLISECONDS]! / 1000,
    ...(withLatency && { latency }),
  };
}
