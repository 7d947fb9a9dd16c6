import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GIB, KIB } from '../src/base/units.js';
import { beginBackup } from './begin-backup.js';
import { ownBytesOf } from './idle.js';
import { startRounds } from './large-start.js';
import { processorMicroseconds } from './processor-time.js';
import { type Image, type RunningServer, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export const EXPORTS = 1000;
export const EXPORT_BYTES = GIB;
/** Exports with an open view, all of one backup. */
export const VIEWS = 100;
const IDLE_SECONDS = 10;
const SETTLE_SECONDS = 2;

/** One figure a round. */
export interface ManyExportsResult {
  /** From the start of the program until it greets a client. */
  readonly firstMilliseconds: number[];
  readonly killedMilliseconds: number[];
  readonly stoppedMilliseconds: number[];
  /** What the exports add to a server with one of them, divided by their number. */
  readonly bytesPerExport: number[];
  /** What the views add, divided by their number. */
  readonly bytesPerView: number[];
  /** While nobody is connected. */
  readonly processorMillisecondsPerMinute: number[];
}

/** Starts tidemark with many exports on sparse images, for the first time, after a kill and after a stop. */
export async function measureManyExports(run: BenchRun, parent: string): Promise<ManyExportsResult> {
  const result: ManyExportsResult = {
    ...{ firstMilliseconds: [], killedMilliseconds: [], stoppedMilliseconds: [] },
    ...{ bytesPerExport: [], bytesPerView: [], processorMillisecondsPerMinute: [] },
  };
  await mkdir(parent, { recursive: true });
  const images = await makeImages(parent);
  for (let round = 0; round < startRounds(run.options); round++) {
    const folder = join(parent, `round-${round}`);
    await mkdir(folder);
    await measureRound(run, images, folder, result);
  }
  return result;
}

type Images = readonly [Image, ...Image[]];

async function makeImages(folder: string): Promise<Images> {
  const names = Array.from({ length: EXPORTS }, (_, index) => `disk-${index}`);
  const images = names.map((exportName) => ({ path: join(folder, `${exportName}.img`), exportName }));
  for (const { path } of images) {
    await writeFile(path, '');
    await truncate(path, EXPORT_BYTES);
  }
  return images as [Image, ...Image[]];
}

async function measureRound(run: BenchRun, images: Images, folder: string, result: ManyExportsResult): Promise<void> {
  const { signal, log } = run;
  const start = (served: Images, place = folder) =>
    startServer('tidemark', { images: served, folder: place, signal, pin: false });
  const settledBytes = async (server: RunningServer) => {
    await delay(SETTLE_SECONDS * 1000, undefined, { signal });
    return ownBytesOf(server.pids);
  };
  const bytesOfOne = await inFolder(join(folder, 'one'), async (place) => {
    await using server = await start([images[0]], place);
    return await settledBytes(server);
  });

  const first = await start(images);
  result.firstMilliseconds.push(first.greetingMilliseconds);
  const bytes = await settledBytes(first);
  result.bytesPerExport.push((bytes - bytesOfOne) / (EXPORTS - 1));
  result.processorMillisecondsPerMinute.push(await idleMilliseconds(first, signal));
  await beginBackup(
    folder,
    images.slice(0, VIEWS).map(({ exportName }) => exportName),
  );
  result.bytesPerView.push(((await settledBytes(first)) - bytes) / VIEWS);
  await first.program!.kill();

  const second = await start(images);
  result.killedMilliseconds.push(second.greetingMilliseconds);
  await second[Symbol.asyncDispose]();
  await using third = await start(images);
  result.stoppedMilliseconds.push(third.greetingMilliseconds);
  const milliseconds = [first, second, third].map((server) => server.greetingMilliseconds.toFixed(0));
  log(
    `start with ${EXPORTS} exports: ${milliseconds.join(', ')} ms, ${(result.bytesPerExport.at(-1)! / KIB).toFixed(0)} KiB each`,
  );
}

async function inFolder<T>(folder: string, work: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(folder);
  return work(folder);
}

async function idleMilliseconds({ pids }: RunningServer, signal: AbortSignal): Promise<number> {
  const before = await processorMicroseconds(pids);
  await delay(IDLE_SECONDS * 1000, undefined, { signal });
  return (((await processorMicroseconds(pids)) - before) / 1000) * (60 / IDLE_SECONDS);
}
