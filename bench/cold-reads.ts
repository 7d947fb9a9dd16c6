import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB } from '../src/base/units.js';
import { type FioJob, type FioResult, runFio } from './fio.js';
import { makeCached, makeCold, makeImage } from './image.js';
import { type Image, type RunningServer, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

/** What happens on the other export of the server while cached reads are timed on the first. */
const neighbours = ['idle', 'reads cached data', 'reads cold data'] as const;
type Neighbour = (typeof neighbours)[number];

export interface ColdReadResult {
  readonly neighbour: Neighbour;
  /** Of the cached reads, in microseconds, one a round. */
  readonly p50: number[];
  readonly p99: number[];
  /** Reads per second of the neighbour, one figure a round. */
  readonly neighbourIops: number[];
}

const exportNames = { cached: 'cached', other: 'other' } as const;
const cachedJob = { operation: 'randread', blockBytes: 4 * KIB, depth: 1 } as const;
const neighbourJob = { operation: 'randread', blockBytes: 4 * KIB, depth: 8 } as const;

interface Scene {
  readonly run: BenchRun;
  readonly folder: string;
  readonly server: RunningServer;
  readonly cached: Image;
  readonly other: Image;
}

/** Times cached reads on one export of tidemark while another does what `neighbours` lists. `folder` is on a disk. */
export async function measureColdReads(run: BenchRun, folder: string): Promise<ColdReadResult[]> {
  const { options, signal } = run;
  const [cached, other] = [imageIn(folder, exportNames.cached), imageIn(folder, exportNames.other)];
  for (const { path } of [cached, other]) await makeImage(path, options.sizeBytes);
  const serverFolder = join(folder, 'server');
  await mkdir(serverFolder);
  await using server = await startServer('tidemark', {
    images: [cached, other],
    folder: serverFolder,
    signal,
    pin: options.pin,
  });
  return await measureRounds({ run, folder, server, cached, other });
}

function imageIn(folder: string, exportName: string): Image {
  return { exportName, path: join(folder, `${exportName}.img`) };
}

/** The differences are large. */
export function coldRounds({ rounds }: BenchRun['options']): number {
  return Math.min(rounds, 3);
}

async function measureRounds(scene: Scene): Promise<ColdReadResult[]> {
  const { options, log } = scene.run;
  const results = neighbours.map((neighbour) => ({ neighbour, p50: [], p99: [], neighbourIops: [] }) as ColdReadResult);
  for (let round = 0; round < coldRounds(options); round++) {
    for (const { neighbour, p50, p99, neighbourIops } of results) {
      const [timed, beside] = await measure(scene, neighbour);
      p50.push(timed.latencyMicroseconds!.p50);
      p99.push(timed.latencyMicroseconds!.p99);
      neighbourIops.push(beside?.iops ?? 0);
      log(`round ${round + 1}/${coldRounds(options)}  the other export ${neighbour}: p99 ${p99.at(-1)!.toFixed(0)} µs`);
    }
  }
  return results;
}

async function measure(scene: Scene, neighbour: Neighbour): Promise<[FioResult, FioResult | undefined]> {
  const { run, cached, other } = scene;
  await (neighbour === 'reads cold data' ? makeCold : makeCached)(other.path, run.signal);
  // The neighbour begins before the timed reads are counted, and ends after them.
  const besideSeconds = run.options.seconds + 1;
  return await Promise.all([
    read(scene, cached, { ...cachedJob, warmUpSeconds: 1, seconds: run.options.seconds, latency: true }),
    neighbour === 'idle'
      ? undefined
      : read(scene, other, { ...neighbourJob, warmUpSeconds: 0, seconds: besideSeconds, latency: false }),
  ]);
}

function read(scene: Scene, image: Image, job: Omit<FioJob, 'uri' | 'sizeBytes'>): Promise<FioResult> {
  const { run, folder, server } = scene;
  const { sizeBytes, pin } = run.options;
  return runFio({ ...job, uri: server.uri(image), sizeBytes }, { folder, signal: run.signal, pin });
}
