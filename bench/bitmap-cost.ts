import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, KIB } from '../src/base/units.js';
import { type FioJob, runFio } from './fio.js';
import { makeImage } from './image.js';
import { type BitmapMode, bitmapModes, startServer } from './servers.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** Runs in each round. Single runs differ by a quarter, and the ratios to be found differ from 1 by hundredths. */
const RUNS_A_ROUND = 10;

/** The steps of each series run one after the other on a tidemark with new bitmaps. */
const series: readonly (readonly CostStep[])[] = [
  [
    {
      title: 'random write 4 KiB, depth 32, first pass: a new granule each time',
      unit: 'kIOPS',
      goal: 0.7,
      job: { operation: 'randwrite', blockBytes: 4 * KIB, depth: 32, alignBytes: 64 * KIB },
    },
    {
      title: 'random write 4 KiB, depth 32, afterwards',
      unit: 'kIOPS',
      goal: 0.95,
      job: { operation: 'randwrite', blockBytes: 4 * KIB, depth: 32 },
    },
    {
      title: 'random read 4 KiB, depth 32',
      unit: 'kIOPS',
      goal: 1,
      job: { operation: 'randread', blockBytes: 4 * KIB, depth: 32 },
    },
  ],
  [
    {
      title: 'sequential write 256 KiB, depth 8, first pass',
      unit: 'MB/s',
      goal: 0.97,
      job: { operation: 'write', blockBytes: 256 * KIB, depth: 8 },
    },
  ],
];

interface CostStep {
  readonly title: string;
  readonly unit: 'kIOPS' | 'MB/s';
  /** The wanted ratio of the speed with persistent bitmaps to that without bitmaps. */
  readonly goal: number;
  readonly job: Omit<FioJob, 'uri' | 'sizeBytes' | 'latency'>;
}

export interface CostResult {
  /** Where the disk and the state are, in words. */
  readonly place: string;
  readonly step: CostStep;
  readonly figures: ReadonlyMap<BitmapMode, number[]>;
}

const SIZE_BYTES = 4 * GIB;

/** Measures tidemark with bitmaps in the store, in memory and off, in turn, on one image in each place. */
export async function measureBitmapCost(
  run: BenchRun,
  places: Readonly<Record<string, string>>,
): Promise<CostResult[]> {
  const results: CostResult[] = [];
  for (const [place, folder] of Object.entries(places)) {
    const image = join(folder, 'cost.img');
    await makeImage(image, SIZE_BYTES);
    for (const steps of series) {
      const ofSeries = steps.map((step) => ({ place, step, figures: noFigures() }));
      results.push(...ofSeries);
      for (let turn = 0; turn < run.options.rounds * RUNS_A_ROUND; turn++) {
        for (const mode of inTurn(bitmapModes, turn)) await measureMode(run, mode, folder, image, ofSeries);
      }
    }
    await rm(image);
  }
  return results;
}

function noFigures(): Map<BitmapMode, number[]> {
  return new Map(bitmapModes.map((mode) => [mode, []]));
}

/** Runs the steps of a series on a freshly started server. */
async function measureMode(
  run: BenchRun,
  mode: BitmapMode,
  parent: string,
  path: string,
  results: readonly CostResult[],
): Promise<void> {
  const { options, signal, log } = run;
  const folder = await mkdtemp(join(parent, 'cost-'));
  const image = { path, exportName: 'disk' };
  {
    await using server = await startServer('tidemark', {
      images: [image],
      folder,
      signal,
      pin: options.pin,
      bitmaps: mode,
    });
    for (const { place, step, figures } of results) {
      const isPass = 'alignBytes' in step.job || step.job.operation === 'write';
      const length = isPass ? {} : { seconds: options.seconds, warmUpSeconds: 1 };
      const job = { ...step.job, ...length, uri: server.uri(image), sizeBytes: SIZE_BYTES, latency: false };
      const { iops, bytesPerSecond } = await runFio(job, { folder, signal, pin: options.pin });
      const figure = step.unit === 'kIOPS' ? iops / 1000 : bytesPerSecond / 1e6;
      figures.get(mode)!.push(figure);
      log(`${place}  bitmaps ${mode}  ${step.title}  ${figure.toFixed(1)} ${step.unit}`);
    }
  }
  await rm(folder, { recursive: true });
}
