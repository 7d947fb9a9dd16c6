import { KIB } from '../src/base/units.js';
import type { FioResult, Workload } from './fio.js';
import type { Goal } from './report/goals.js';

/**
 * One connection to one export, several connections to one export, one connection to each of several exports, and one
 * export over TLS.
 */
export const casePartNames = ['single', 'connections', 'exports', 'tls'] as const;
export type CasePartName = (typeof casePartNames)[number];

export interface Case extends Workload {
  readonly part: CasePartName;
  readonly name: string;
  readonly title: string;
  readonly unit: 'kIOPS' | 'MB/s';
  /** Connections, spread evenly over the exports. Each of them has requests up to the depth. */
  readonly connections: number;
  readonly exports: number;
  /** For the ratio of speeds of tidemark and the best other server. */
  readonly goal: Goal;
  /** For the ratio of their processor times. */
  readonly processorGoal?: Goal;
  /** Measures the latencies too, which costs fio some speed. */
  readonly latency: boolean;
}

const small = { blockBytes: 4 * KIB, unit: 'kIOPS' } as const;
const large = { blockBytes: 256 * KIB, unit: 'MB/s' } as const;

const operations = [
  { ...small, operation: 'randread', words: 'random read 4 KiB' },
  { ...small, operation: 'randwrite', words: 'random write 4 KiB' },
  { ...large, operation: 'read', words: 'sequential read 256 KiB' },
  { ...large, operation: 'write', words: 'sequential write 256 KiB' },
] as const;
type Operation = (typeof operations)[number];

/** More connections have fewer requests each, as they do in use, so that they do not only wait in queues. */
const several = [
  { part: 'connections', mark: 'c4', connections: 4, exports: 1, smallDepth: 8, largeDepth: 2 },
  { part: 'connections', mark: 'c16', connections: 16, exports: 1, smallDepth: 4, largeDepth: 2 },
  { part: 'exports', mark: 'e4', connections: 4, exports: 4, smallDepth: 8, largeDepth: 2 },
] as const;

export const cases: readonly Case[] = [
  ...operations.flatMap((one) => (one.unit === 'kIOPS' ? [single(one, 1, 1.25)] : [])),
  ...operations.map((one) => single(one, one.unit === 'kIOPS' ? 32 : 8, one.operation === 'randread' ? 1.5 : 1.25)),
  ...several.flatMap((setting) => operations.map((one) => withSeveral(one, setting))),
  ...operations.flatMap((one) => [1, 4].flatMap((connections) => overTls(one, connections))),
];

function single({ words, ...workload }: Operation, depth: number, ratio: number): Case {
  return {
    ...{ ...workload, depth, part: 'single', name: `${workload.operation}-${depth}`, connections: 1, exports: 1 },
    title: `${words}, depth ${depth}`,
    goal: { atLeast: ratio },
    latency: depth === 1,
  };
}

function withSeveral(
  { words, ...workload }: Operation,
  { part, mark, connections, exports, smallDepth, largeDepth }: (typeof several)[number],
): Case {
  const isSmall = workload.unit === 'kIOPS';
  const depth = isSmall ? smallDepth : largeDepth;
  const clients = exports === 1 ? `${connections} connections` : `${exports} exports`;
  return {
    ...{ ...workload, depth, part, name: `${workload.operation}-${mark}`, connections, exports },
    title: `${clients}, ${words}, depth ${depth} each`,
    goal: { atLeast: 1.1 },
    ...(exports === 1 ? {} : { processorGoal: { atMost: isSmall ? 0.7 : 0.9 } }),
    latency: false,
  };
}

/** Of small requests, reads alone. */
function overTls({ words, ...workload }: Operation, connections: number): Case[] {
  if (workload.operation === 'randwrite') return [];
  const depth = workload.unit === 'kIOPS' ? 32 / connections : 8 / connections;
  const clients = connections === 1 ? '1 connection' : `${connections} connections`;
  const name = `${workload.operation}-tls-c${connections}`;
  return [
    {
      ...{ ...workload, depth, part: 'tls', name, connections, exports: 1 },
      title: `TLS, ${clients}, ${words}, depth ${depth} each`,
      goal: { atLeast: 1.1 },
      latency: false,
    },
  ];
}

/** The result, in the unit of the case. */
export function figureOf({ unit }: Case, { iops, bytesPerSecond }: Pick<FioResult, 'iops' | 'bytesPerSecond'>): number {
  return unit === 'kIOPS' ? iops / 1000 : bytesPerSecond / 1e6;
}
