import type { CommandStatistics, ExportStatistics } from '../api/statistics.js';

/** What clients have done with a disk until one time, which is in milliseconds. */
export interface Sample {
  readonly at: number;
  readonly commands: ExportStatistics['commands'];
}

/** What clients do with a disk. Amounts are each second. */
export interface Rates {
  /** The end of the interval, in seconds. */
  readonly at: number;
  readonly requests: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  /** How many requests the disk failed in the interval. */
  readonly failed: number;
  /** How long a read took in seconds, on average; null if there was none. */
  readonly readSeconds: number | null;
  readonly writeSeconds: number | null;
  /** All requests so far that may have changed the map of the disk. */
  readonly changes: number;
}

type Command = keyof Sample['commands'];

const none: CommandStatistics = { operations: 0, bytes: 0, failed: 0, invalid: 0, seconds: 0 };

/** From one sample to the next. The counters of a server that was restarted in between began at 0. */
export function ratesBetween(before: Sample, now: Sample): Rates {
  const interval = Math.max((now.at - before.at) / 1000, 0.001);
  const gained = (command: Command, of: (one: CommandStatistics) => number) =>
    Math.max(of(now.commands[command] ?? none) - of(before.commands[command] ?? none), 0);
  const gainedByAll = (of: (one: CommandStatistics) => number) =>
    (Object.keys(now.commands) as Command[]).reduce((sum, command) => sum + gained(command, of), 0);
  const meanSeconds = (command: Command) => {
    const count = gained(command, answered);
    return count === 0 ? null : gained(command, ({ seconds }) => seconds) / count;
  };
  return {
    at: now.at / 1000,
    requests: gainedByAll((one) => answered(one) + one.invalid) / interval,
    readBytes: gained('read', ({ bytes }) => bytes) / interval,
    writtenBytes: gained('write', ({ bytes }) => bytes) / interval,
    failed: gainedByAll(({ failed }) => failed),
    readSeconds: meanSeconds('read'),
    writeSeconds: meanSeconds('write'),
    changes: (['write', 'zero', 'trim'] as const).reduce((sum, one) => sum + answered(now.commands[one] ?? none), 0),
  };
}

function answered({ operations, failed }: CommandStatistics): number {
  return operations + failed;
}

/**
 * The time in seconds that `share` of the requests between two samples took at most, as far as the histograms tell.
 * Infinite if it is above their last bound; undefined if there were no requests, or the histograms began anew.
 */
export function latencyBetween(before: Sample, now: Sample, command: Command, share: number): number | undefined {
  const [from, to] = [before.commands[command]?.latency, now.commands[command]?.latency];
  if (!to || (from && from.boundsSeconds.join() !== to.boundsSeconds.join())) return undefined;
  const counts = to.counts.map((count, bin) => count - (from?.counts[bin] ?? 0));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0 || counts.some((count) => count < 0)) return undefined;
  let seen = 0;
  const bin = counts.findIndex((count) => {
    seen += count;
    return seen >= share * total;
  });
  return to.boundsSeconds[bin] ?? Number.POSITIVE_INFINITY;
}

const MOST_POINTS = 300;
/** Percentiles are about as many samples. */
const RECENT_SAMPLES = 60;

/** What clients did with one disk in the last few minutes. */
export class RateHistory {
  private recent: readonly Sample[] = [];
  /** The oldest first. A new array after each sample. */
  points: readonly Rates[] = [];

  add(sample: Sample): void {
    const last = this.recent.at(-1);
    if (last) this.points = [...this.points, ratesBetween(last, sample)].slice(-MOST_POINTS);
    this.recent = [...this.recent, sample].slice(-RECENT_SAMPLES);
  }

  /** The time that `share` of the requests of the last minute took at most; see `latencyBetween`. */
  latency(command: Command, share: number): number | undefined {
    const [first, last] = [this.recent[0], this.recent.at(-1)];
    return first && last && latencyBetween(first, last, command, share);
  }

  /** Begins again, because the counters of the next sample may not continue those of the last one. */
  interrupt(): void {
    this.recent = [];
  }
}
