import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GIB, KIB } from '../src/base/units.js';
import { type FioJob, runFio } from './fio.js';
import { Program } from './program.js';
import type { Goal } from './report/goals.js';
import { controlIn, type RunningServer, startServer, tidemark } from './servers.js';
import type { BenchRun } from './throughput.js';

interface Crash {
  readonly title: string;
  readonly job: Pick<FioJob, 'operation' | 'blockBytes' | 'depth' | 'rateBytes'>;
  /** For what is dirty as a multiple of what was written. */
  readonly goal: Goal;
}

/** The writes in progress when the server is killed. */
const crashes: readonly Crash[] = [
  {
    title: 'random write 4 KiB, 2 MB/s',
    job: { operation: 'randwrite', blockBytes: 4 * KIB, depth: 1, rateBytes: 2_000_000 },
    goal: { atMost: 1.2 },
  },
  {
    title: 'sequential write 256 KiB, 100 MB/s',
    job: { operation: 'write', blockBytes: 256 * KIB, depth: 8, rateBytes: 100_000_000 },
    goal: { atMost: 1.05 },
  },
  {
    title: 'random write 4 KiB, depth 32',
    job: { operation: 'randwrite', blockBytes: 4 * KIB, depth: 32 },
    goal: { atMost: 1.05 },
  },
  {
    title: 'sequential write 256 KiB, depth 8',
    job: { operation: 'write', blockBytes: 256 * KIB, depth: 8 },
    goal: { atMost: 1.05 },
  },
];

export interface CrashResult {
  readonly title: string;
  /** The size of all granules that were written to. */
  readonly trueBytes: number;
  /** How much is dirty after the next start. */
  readonly reportedBytes: number;
  readonly goal: Goal;
}

const SIZE_BYTES = 4 * GIB;
const GRANULE_BYTES = 64 * KIB;
const WORKING_SECONDS = 10;

/** Kills tidemark while a new, sparse disk is being written, starts it again, and compares what is dirty. */
export async function measureCrashes(run: BenchRun, parent: string): Promise<CrashResult[]> {
  const results: CrashResult[] = [];
  for (const [index, { title, job, goal }] of crashes.entries()) {
    const folder = join(parent, `crash-${index}`);
    await mkdir(folder);
    const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
    await writeFile(image.path, '');
    await truncate(image.path, SIZE_BYTES);
    const start = () => startServer('tidemark', { images: [image], folder, signal: run.signal, pin: run.options.pin });

    const first = await start();
    await killWhileWriting(
      run,
      first,
      { ...job, uri: first.uri(image), sizeBytes: SIZE_BYTES, latency: false },
      folder,
    );
    await using second = await start();
    const result = {
      title,
      trueBytes: await writtenBytes(run, second.uri(image)),
      reportedBytes: await dirtyBytes(run, folder),
      goal,
    };
    run.log(`${title}: ${result.reportedBytes} bytes reported, ${result.trueBytes} true`);
    results.push(result);
  }
  return results;
}

async function killWhileWriting(run: BenchRun, server: RunningServer, job: FioJob, folder: string): Promise<void> {
  const { options } = run;
  const over = new AbortController();
  const signal = AbortSignal.any([run.signal, over.signal]);
  const work = runFio({ ...job, seconds: 10 * WORKING_SECONDS }, { folder, signal, pin: options.pin }).catch(() => {});
  await delay(WORKING_SECONDS * 1000);
  await server.program!.kill();
  over.abort();
  await work;
}

async function json(run: BenchRun, ...args: string[]): Promise<unknown> {
  await using program = new Program([process.execPath, tidemark, ...args, '--json'], run.signal);
  return JSON.parse(await program.finished());
}

async function dirtyBytes(run: BenchRun, folder: string): Promise<number> {
  const bitmap = await json(run, 'bitmap', 'show', 'disk', 'nightly', '--control', controlIn(folder));
  return (bitmap as { dirtyBytes: number }).dirtyBytes;
}

/** The disk was one hole, so the allocated parts are those that were written. */
async function writtenBytes(run: BenchRun, uri: string): Promise<number> {
  const map = (await json(run, 'map', uri, '--context', 'base:allocation')) as {
    contexts: [{ extents: { offset: number; length: number; status: number }[] }];
  };
  const granules = new Set<number>();
  for (const { offset, length, status } of map.contexts[0].extents) {
    if (status !== 0) continue;
    for (let at = offset - (offset % GRANULE_BYTES); at < offset + length; at += GRANULE_BYTES) granules.add(at);
  }
  return granules.size * GRANULE_BYTES;
}
