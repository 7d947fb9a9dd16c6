import type { Metric, Registry } from 'prom-client';
import type { CommandStatistics, Latency, Statistics } from '../api/statistics.js';
import { giveWay } from '../base/loop-share.js';
import type { ControlHost } from './control-host.js';

/**
 * With more exports than this, there are samples only of commands that were used, and no histograms: to write those of many
 * takes the event loop too long.
 */
const MAX_DETAILED_EXPORTS = 50;

const COMMANDS = ['read', 'write', 'zero', 'trim', 'flush', 'cache', 'status'] as const;
const COMMANDS_AND_UNKNOWN = [...COMMANDS, 'other'] as const;
type Command = (typeof COMMANDS_AND_UNKNOWN)[number];

const unused: CommandStatistics = { operations: 0, bytes: 0, failed: 0, invalid: 0, merged: 0, seconds: 0 };

interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  /** If it is not that of the metric. */
  readonly metricName?: string;
}

interface Described {
  readonly name: string;
  readonly statistics: Statistics;
  readonly isDetailed: boolean;
}

/** Metrics of what clients do, by command, whose values are read when somebody asks for them. */
export function collectCommandMetrics({ exports }: ControlHost, registry: Registry): void {
  // All metrics of a scrape are asked in the same turn.
  let current: Promise<Described[]> | undefined;
  const describeAll = () => {
    current ??= describeExports(exports).finally(() => {
      current = undefined;
    });
    return current;
  };
  const add = (
    name: string,
    help: string,
    type: 'counter' | 'gauge' | 'histogram',
    of: (one: Described) => Sample[],
  ) => {
    const get = async () => ({ name, help, type, aggregator: 'sum', values: (await describeAll()).flatMap(of) });
    // prom-client has no metric whose samples are counted elsewhere. It asks a metric for no more than this.
    registry.registerMetric({ name, help, type, get, getForPromString: get } as unknown as Metric);
  };
  const count = (
    name: string,
    help: string,
    commands: readonly Command[],
    read: (command: CommandStatistics) => number,
  ) => add(name, help, 'counter', (one) => countersOf(one, commands, read));

  count('tidemark_export_operations_total', 'Requests that succeeded', COMMANDS, ({ operations }) => operations);
  count('tidemark_export_operation_bytes_total', 'Bytes of requests that succeeded', COMMANDS, ({ bytes }) => bytes);
  count('tidemark_export_failed_operations_total', 'Requests that the disk failed', COMMANDS, ({ failed }) => failed);
  count(
    'tidemark_export_invalid_operations_total',
    'Requests refused before they reached the disk',
    COMMANDS_AND_UNKNOWN,
    ({ invalid }) => invalid,
  );
  count(
    'tidemark_export_merged_operations_total',
    'Flushes that shared the flush of the file with another',
    ['flush'],
    ({ merged = 0 }) => merged,
  );
  add('tidemark_export_operation_duration_seconds', 'Time that requests took', 'histogram', (one) =>
    one.isDetailed ? histogramsOf('tidemark_export_operation_duration_seconds', one) : [],
  );
  const gauge = (name: string, help: string, read: (statistics: Statistics) => number | null) =>
    add(name, help, 'gauge', ({ name: exportName, statistics }) => {
      const value = read(statistics);
      return value === null ? [] : [{ labels: { export: exportName }, value }];
    });
  gauge('tidemark_export_operations_in_flight', 'Requests that wait for the disk', ({ inFlight }) => inFlight);
  gauge('tidemark_export_idle_seconds', 'Time since the last request', ({ idleSeconds }) => idleSeconds);
  gauge('tidemark_export_highest_written_bytes', 'Largest end of a write', ({ highestOffset }) => highestOffset);
}

async function describeExports(exports: ControlHost['exports']): Promise<Described[]> {
  const list = exports.list();
  const isDetailed = list.length <= MAX_DETAILED_EXPORTS;
  const described: Described[] = [];
  for (const one of list) {
    await giveWay();
    described.push({ name: one.name, statistics: one.statistics(isDetailed), isDetailed });
  }
  return described;
}

function countersOf(
  { name, statistics, isDetailed }: Described,
  commands: readonly Command[],
  read: (command: CommandStatistics) => number,
): Sample[] {
  return commands.flatMap((command) => {
    const found = statistics.commands[command] ?? (isDetailed ? unused : undefined);
    return found ? [{ labels: { export: name, command }, value: read(found) }] : [];
  });
}

function histogramsOf(metricName: string, { name, statistics }: Described): Sample[] {
  return COMMANDS.flatMap((command) => {
    const { seconds, latency } = statistics.commands[command] ?? unused;
    return latency ? histogramOf(metricName, { export: name, command }, seconds, latency) : [];
  });
}

/** Each bucket counts those before it too. */
function histogramOf(
  metricName: string,
  labels: Readonly<Record<string, string>>,
  seconds: number,
  { boundsSeconds, counts }: Latency,
): Sample[] {
  let count = 0;
  const buckets = counts.map((inBin, bin) => {
    count += inBin;
    return {
      metricName: `${metricName}_bucket`,
      labels: { le: boundsSeconds[bin] ?? '+Inf', ...labels },
      value: count,
    };
  });
  return [
    ...buckets,
    { metricName: `${metricName}_sum`, labels, value: seconds },
    { metricName: `${metricName}_count`, labels, value: count },
  ];
}
