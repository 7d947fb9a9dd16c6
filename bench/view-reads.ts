import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB } from '../src/base/units.js';
import { beginBackup } from './begin-backup.js';
import { type FioEnvironment, type FioJob, runFio, type Workload } from './fio.js';
import { type Image, startServer } from './servers.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** What is read while something else writes. */
const viewReads = [
  { title: 'random read 4 KiB, depth 32 (kIOPS)', operation: 'randread', blockBytes: 4 * KIB, depth: 32 },
  { title: 'sequential read 256 KiB, depth 8 (MB/s)', operation: 'read', blockBytes: 256 * KIB, depth: 8 },
] as const satisfies readonly (Workload & { title: string })[];

/** Bytes a second that the other client writes meanwhile, 4 KiB at random. */
export const WRITTEN_RATE_BYTES = 20_000_000;

/** Figures in the unit of the title, one a round. */
export interface ViewReadResult {
  readonly title: string;
  readonly disk: number[];
  readonly view: number[];
}

const sources = ['disk', 'view'] as const;

/** Reads a disk, and a view of it, while the disk is written. Each time the view has just been made. */
export async function measureViewReads(
  run: BenchRun,
  parent: string,
  image: Image,
  sizeBytes: number,
): Promise<ViewReadResult[]> {
  const results = viewReads.map(({ title }) => ({ title, disk: [] as number[], view: [] as number[] }));
  for (let round = 0; round < run.options.rounds; round++) {
    for (const [index, read] of viewReads.entries()) {
      for (const source of inTurn(sources, round)) {
        const figure = await measure(run, join(parent, 'view-reads'), { image, sizeBytes, read, source });
        results[index]![source].push(figure);
        run.log(`${read.title}, from the ${source} while it is written  ${figure.toFixed(1)}`);
      }
    }
  }
  return results;
}

interface Measurement {
  readonly image: Image;
  readonly sizeBytes: number;
  readonly read: (typeof viewReads)[number];
  readonly source: (typeof sources)[number];
}

async function measure({ options, signal }: BenchRun, folder: string, measurement: Measurement): Promise<number> {
  const { image, sizeBytes, read, source } = measurement;
  const { operation, blockBytes, depth } = read;
  await mkdir(folder);
  try {
    await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
    const environment: FioEnvironment = { folder, signal, pin: options.pin };
    const whole = { uri: server.uri(image), sizeBytes, latency: false };
    await runFio({ ...whole, operation: 'write', blockBytes: 256 * KIB, depth: 8 }, environment);
    // Both times there is a view that old data has to be kept for.
    const { exports } = await beginBackup(folder, [image.exportName]);
    const uri = source === 'view' ? exports[0]!.uri : whole.uri;
    await using writer = startWriter({ ...whole, operation: 'randwrite', blockBytes: 4 * KIB, depth: 8 }, environment);
    await delay(500);
    const job = { ...whole, uri, operation, blockBytes, depth, seconds: options.seconds, warmUpSeconds: 0.5 };
    const { iops, bytesPerSecond } = await runFio(job, environment);
    writer.mustRun();
    return operation === 'read' ? bytesPerSecond / 1e6 : iops / 1000;
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Writes until it is disposed of. */
function startWriter(job: FioJob, environment: FioEnvironment): AsyncDisposable & { mustRun(): void } {
  const over = new AbortController();
  const signal = AbortSignal.any([environment.signal, over.signal]);
  let ended: unknown;
  const work = runFio({ ...job, seconds: 600, rateBytes: WRITTEN_RATE_BYTES }, { ...environment, signal }).catch(
    (error: unknown) => {
      ended = error;
    },
  );
  return {
    mustRun() {
      if (ended !== undefined) throw new Error('the writer beside a view ended', { cause: ended });
    },
    async [Symbol.asyncDispose]() {
      over.abort();
      await work;
    },
  };
}
