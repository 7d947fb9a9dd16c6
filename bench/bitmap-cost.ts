import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, KIB } from '../src/base/units.js';
import { type FioJob, type FioResult, runFio } from './fio.js';
import { makeImage } from './image.js';
import type { Places } from './part.js';
import type { Goal } from './report/goals.js';
import { type BitmapMode, bitmapModes, startServer } from './servers.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** Single runs differ by a quarter, and the ratios to be found differ from 1 by hundredths. */
const RUNS_A_ROUND = 2;
const SLOW_SECONDS = 3;
const SIZE_BYTES = 4 * GIB;

interface CostStep {
  readonly job: Omit<FioJob, 'uri' | 'sizeBytes'>;
  /** Runs for as long as other measurements do; otherwise it is one pass, or has its own duration. */
  readonly isTimed?: boolean;
  readonly figures: readonly CostFigure[];
}

interface CostFigure {
  readonly title: string;
  readonly of: (result: FioResult) => number;
  /** For the ratio of persistent bitmaps to none. */
  readonly goal?: Goal;
}

const random = { operation: 'randwrite', blockBytes: 4 * KIB, depth: 32, latency: false } as const;
const sequential = { operation: 'write', blockBytes: 256 * KIB, depth: 8, latency: false } as const;
const newGranules = { alignBytes: 64 * KIB };
const slowly = { depth: 1, rateBytes: 2_000_000, seconds: SLOW_SECONDS, latency: true };

/** Writes in one pass, by which every granule becomes dirty, and writes after that. */
const firstPass = { atLeast: 0.9 };
const afterwards = { atLeast: 0.98 };

const kiloIops = ({ iops }: FioResult) => iops / 1000;
const megabytes = ({ bytesPerSecond }: FioResult) => bytesPerSecond / 1e6;

/** The steps of each series run one after the other on a tidemark with clean bitmaps. */
const series: readonly (readonly CostStep[])[] = [
  [
    {
      job: { ...random, ...newGranules },
      figures: [{ title: 'random write 4 KiB, depth 32, first pass (kIOPS)', of: kiloIops, goal: firstPass }],
    },
    {
      job: random,
      isTimed: true,
      figures: [{ title: 'random write 4 KiB, depth 32, afterwards (kIOPS)', of: kiloIops, goal: afterwards }],
    },
  ],
  [
    {
      job: sequential,
      figures: [{ title: 'sequential write 256 KiB, depth 8, first pass (MB/s)', of: megabytes, goal: firstPass }],
    },
    {
      job: sequential,
      isTimed: true,
      figures: [{ title: 'sequential write 256 KiB, depth 8, afterwards (MB/s)', of: megabytes, goal: afterwards }],
    },
  ],
  [
    {
      job: { ...random, ...newGranules, ...slowly },
      figures: [
        { title: 'random write 4 KiB, 2 MB/s, first pass (MB/s)', of: megabytes, goal: firstPass },
        { title: 'the p50 of its latency (µs)', of: ({ latencyMicroseconds }) => latencyMicroseconds!.p50 },
        { title: 'the p99 of its latency (µs)', of: ({ latencyMicroseconds }) => latencyMicroseconds!.p99 },
      ],
    },
  ],
];

export interface CostResult {
  readonly step: CostStep;
  /** For each of the step's figures, one a run. */
  readonly figures: readonly { readonly figure: CostFigure; readonly values: ReadonlyMap<BitmapMode, number[]> }[];
}

/**
 * Measures tidemark with bitmaps in the store and with none, in turn. The image is in memory and the store is on a disk,
 * so that marks are made durable while writes cost little.
 */
export async function measureBitmapCost(run: BenchRun, { tmpfs, disk }: Places): Promise<CostResult[]> {
  const path = join(tmpfs, 'cost.img');
  await makeImage(path, SIZE_BYTES);
  const results = series.map((steps) => steps.map(noResult));
  for (let turn = 0; turn < costRuns(run.options); turn++) {
    for (const ofSeries of results) {
      for (const mode of inTurn(bitmapModes, turn)) await measureMode(run, mode, disk, path, ofSeries);
    }
  }
  return results.flat();
}

export function costRuns({ rounds }: BenchRun['options']): number {
  return rounds * RUNS_A_ROUND;
}

/** About how long a run of all series takes, with both modes. */
export function costSecondsARun({ seconds }: BenchRun['options']): number {
  const starts = series.length * 0.5;
  return bitmapModes.length * (starts + 5 + SLOW_SECONDS + 2 * (seconds + 1));
}

function noResult(step: CostStep): CostResult {
  const valuesOf = () => new Map(bitmapModes.map((mode): [BitmapMode, number[]] => [mode, []]));
  return { step, figures: step.figures.map((figure) => ({ figure, values: valuesOf() })) };
}

/** Runs the steps of a series on a freshly started server. */
async function measureMode(
  { options, signal, log }: BenchRun,
  bitmaps: BitmapMode,
  parent: string,
  path: string,
  results: readonly CostResult[],
): Promise<void> {
  const { pin, seconds } = options;
  const folder = await mkdtemp(join(parent, 'cost-'));
  const image = { path, exportName: 'disk' };
  {
    await using server = await startServer('tidemark', { images: [image], folder, signal, pin, bitmaps });
    for (const { step, figures } of results) {
      const length = step.isTimed ? { seconds, warmUpSeconds: 0.5 } : {};
      const job = { ...step.job, ...length, uri: server.uri(image), sizeBytes: SIZE_BYTES };
      const result = await runFio(job, { folder, signal, pin });
      for (const { figure, values } of figures) {
        values.get(bitmaps)!.push(figure.of(result));
        log(`bitmaps ${bitmaps}  ${figure.title}  ${figure.of(result).toFixed(1)}`);
      }
    }
  }
  await rm(folder, { recursive: true });
}
