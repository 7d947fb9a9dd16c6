import { onSharedClock } from '../base/monotonic-clock.js';
import {
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
  OTHER_COMMANDS,
  PER_COMMAND,
  REQUESTS,
} from '../export/accounting/accounting-memory.js';
import { Command } from '../protocol/constants.js';
import { PassClock } from './pass-clock.js';

/**
 * Keeps account of what a client does, in the thread that serves it.
 *
 * A clock takes too long to ask it for each request. The replies of a pass leave together, so their requests have one
 * latency: from the start of the pass until its replies have been passed to the kernel. What a request has done is
 * counted before that, so a client that has its reply also finds it counted. Only replies that lend pages are counted
 * just after they have left.
 */
export class Recorder {
  /** When the pass began. */
  startedAt = 0;
  /** How many requests of each command were served at once in this pass. */
  private readonly atOnce = new Uint32Array(accountedCommands.length);
  private hasAny = false;

  constructor(
    private readonly memory: AccountingMemory,
    private readonly clock = new PassClock(),
  ) {}

  /** A pass begins. */
  begin(): void {
    this.startedAt = this.clock.now();
  }

  /** A valid request has begun. */
  accepted(): void {
    this.memory[REQUESTS]!++;
  }

  /** An invalid request was refused. */
  refused(command: number): void {
    const { memory } = this;
    const accounted = command < accountedCommands.length ? command : OTHER_COMMANDS;
    memory[accounted * PER_COMMAND + INVALID]!++;
    memory[LAST_ACCESS] = onSharedClock(this.startedAt);
  }

  /** A request has succeeded. `end` is where its range ends. */
  succeeded(command: number, bytes: number, end: number): void {
    const { memory } = this;
    const at = command * PER_COMMAND;
    memory[at + OPERATIONS]!++;
    memory[at + BYTES]! += bytes;
    if ((command === Command.WRITE || command === Command.WRITE_ZEROES) && end > memory[HIGHEST_END]!) {
      memory[HIGHEST_END] = end;
    }
  }

  failed(command: number): void {
    this.memory[command * PER_COMMAND + FAILED]!++;
  }

  /** A request was served at once; its reply leaves with the others of the pass. */
  servedAtOnce(command: number): void {
    this.atOnce[command]!++;
    this.hasAny = true;
  }

  /** The replies so far have left. What follows in this pass begins now. */
  settle(): void {
    if (!this.hasAny) return;
    this.hasAny = false;
    const { atOnce } = this;
    const { startedAt } = this;
    this.startedAt = this.clock.exactly();
    const milliseconds = this.startedAt - startedAt;
    const bin = this.binOf(milliseconds);
    for (let command = 0; command < atOnce.length; command++) {
      const count = atOnce[command]!;
      if (count === 0) continue;
      atOnce[command] = 0;
      this.add(command, bin, count, milliseconds);
    }
    this.memory[LAST_ACCESS] = onSharedClock(this.startedAt);
  }

  /** A request that had to wait has left. It began at `startedAt`, with its pass. Returns how long it took. */
  servedLater(command: number, startedAt: number): number {
    const now = this.clock.exactly();
    const milliseconds = now - startedAt;
    this.add(command, this.binOf(milliseconds), 1, milliseconds);
    this.memory[LAST_ACCESS] = onSharedClock(now);
    return milliseconds;
  }

  /** So many requests wait for the disk now. */
  waiting(count: number): void {
    this.memory[IN_FLIGHT] = count;
  }

  private add(command: number, bin: number, count: number, milliseconds: number): void {
    const at = command * PER_COMMAND;
    this.memory[at + MILLISECONDS]! += count * milliseconds;
    this.memory[at + BINS + bin]! += count;
  }

  /** A bin begins with its lower bound, as in QEMU (block_latency_histogram_account). */
  private binOf(milliseconds: number): number {
    const { memory } = this;
    const count = memory[BOUND_COUNT]!;
    let bin = 0;
    while (bin < count && milliseconds >= memory[BOUNDS + bin]!) bin++;
    return bin;
  }
}
