import { KIB } from '../src/base/units.js';
import type { FioResult, Workload } from './fio.js';

export interface Case extends Workload {
  readonly name: string;
  readonly title: string;
  readonly unit: 'kIOPS' | 'MB/s';
  /** The wanted ratio of tidemark to the best other server. */
  readonly goal: number;
}

const small = { blockBytes: 4 * KIB, unit: 'kIOPS' } as const;
const large = { blockBytes: 256 * KIB, unit: 'MB/s', depth: 8 } as const;

export const cases: readonly Case[] = [
  { ...small, name: 'randread-1', title: 'random read 4 KiB, depth 1', operation: 'randread', depth: 1, goal: 1 },
  { ...small, name: 'randread-32', title: 'random read 4 KiB, depth 32', operation: 'randread', depth: 32, goal: 1.25 },
  { ...small, name: 'randwrite-1', title: 'random write 4 KiB, depth 1', operation: 'randwrite', depth: 1, goal: 1 },
  { ...small, name: 'randwrite-32', title: 'random write 4 KiB, depth 32', operation: 'randwrite', depth: 32, goal: 1 },
  { ...large, name: 'read-8', title: 'sequential read 256 KiB, depth 8', operation: 'read', goal: 1 },
  { ...large, name: 'write-8', title: 'sequential write 256 KiB, depth 8', operation: 'write', goal: 1 },
];

/** The result, in the unit of the case. */
export function figureOf({ unit }: Case, { iops, bytesPerSecond }: FioResult): number {
  return unit === 'kIOPS' ? iops / 1000 : bytesPerSecond / 1e6;
}
