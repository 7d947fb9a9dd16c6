import type { CommandStatistics, Latency, ServerStatistics, Statistics } from '../../api/statistics.js';
import { percentile } from './latency.js';

/** What the rows are about: exports and views, or clients. */
export type Subject = 'export' | 'client';

/** What clients did in an interval. */
interface Rates {
  readonly requestsPerSecond: number;
  readonly failedPerSecond: number;
  readonly readBytesPerSecond: number;
  readonly writtenBytesPerSecond: number;
  /** Null if there were no requests. */
  readonly meanSeconds: number | null;
  /** Null if there were no requests, or the server has not sent histograms. */
  readonly p50Seconds: number | null;
  readonly p99Seconds: number | null;
  /** The mean number of requests under way. */
  readonly queueDepth: number;
}

export interface TopRow extends Rates {
  /** The export or view; the one that it uses, for a client. */
  readonly name: string;
  /** How many clients are connected. Missing for a client. */
  readonly connections?: number;
  /** Only for a client. */
  readonly id?: number;
  readonly client?: string;
}

export interface Top {
  /** The length of the interval. */
  readonly seconds: number;
  readonly rows: readonly TopRow[];
}

/** Somebody that statistics are about, with a key by which it is found again. */
interface Measured {
  readonly key: string;
  readonly labels: Pick<TopRow, 'name' | 'connections' | 'id' | 'client'>;
  readonly statistics: Statistics;
}

/** What happened between two answers of a server. After a restart, what happened since then. */
export function topBetween(before: ServerStatistics, after: ServerStatistics, by: Subject): Top {
  const hasRestarted = Math.abs(startOf(after) - startOf(before)) > 0.5;
  const seconds = hasRestarted ? after.uptimeSeconds : after.uptimeSeconds - before.uptimeSeconds;
  const measured = hasRestarted ? [] : measuredIn(before, by);
  const earlier = new Map(measured.map(({ key, statistics }) => [key, statistics] as const));
  const rows = measuredIn(after, by).map(({ key, labels, statistics }) => ({
    ...labels,
    ...ratesBetween(earlier.get(key), statistics, Math.max(seconds, 0.001)),
  }));
  return { seconds, rows };
}

/** When the server was started, in seconds of its clock. */
function startOf({ at, uptimeSeconds }: ServerStatistics): number {
  return Date.parse(at) / 1000 - uptimeSeconds;
}

function measuredIn({ exports, views, clients }: ServerStatistics, by: Subject): Measured[] {
  if (by === 'export') {
    return [...exports, ...views].map((statistics) => {
      const { name, connections } = statistics;
      return { key: name, labels: { name, connections }, statistics };
    });
  }
  return clients.map((statistics) => {
    const { id, client, export: name } = statistics;
    return { key: String(id), labels: { id, client, name }, statistics };
  });
}

/** `before` is missing if it was not there then. */
function ratesBetween(before: Statistics | undefined, after: Statistics, seconds: number): Rates {
  // One of that name was removed and added again.
  const isAnother =
    before !== undefined && (['operations', 'failed'] as const).some((of) => sum(after, of) < sum(before, of));
  const base = isAnother ? undefined : before;
  const grown = (of: Countable) => sum(after, of) - (base ? sum(base, of) : 0);
  const bytes = (command: 'read' | 'write') =>
    (after.commands[command]?.bytes ?? 0) - (base?.commands[command]?.bytes ?? 0);
  const requests = grown('operations') + grown('failed');
  const latency = latencyBetween(base, after);
  return {
    requestsPerSecond: requests / seconds,
    failedPerSecond: (grown('failed') + grown('invalid')) / seconds,
    readBytesPerSecond: bytes('read') / seconds,
    writtenBytesPerSecond: bytes('write') / seconds,
    meanSeconds: requests > 0 ? grown('seconds') / requests : null,
    p50Seconds: (latency && percentile(latency, 0.5)) ?? null,
    p99Seconds: (latency && percentile(latency, 0.99)) ?? null,
    queueDepth: grown('seconds') / seconds,
  };
}

type Countable = 'operations' | 'failed' | 'invalid' | 'seconds';

function sum({ commands }: Statistics, of: Countable): number {
  return Object.values(commands).reduce((total, command) => total + command[of], 0);
}

/** One histogram of all commands; undefined if some have none. */
function latencyBetween(before: Statistics | undefined, after: Statistics): Latency | undefined {
  const commands = Object.entries(after.commands) as [keyof Statistics['commands'], CommandStatistics][];
  const boundsSeconds = commands[0]?.[1].latency?.boundsSeconds;
  if (!boundsSeconds) return undefined;
  const counts = Array<number>(boundsSeconds.length + 1).fill(0);
  for (const [name, { latency }] of commands) {
    if (!latency) return undefined;
    const earlier = before?.commands[name]?.latency;
    const base = earlier && String(earlier.boundsSeconds) === String(boundsSeconds) ? earlier.counts : [];
    // A histogram that was set back meanwhile has fewer than before.
    for (const [bin, count] of latency.counts.entries()) counts[bin]! += Math.max(0, count - (base[bin] ?? 0));
  }
  return { boundsSeconds, counts };
}
