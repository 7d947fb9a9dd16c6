import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jobsOf, overwritingJobs, type Served } from './case-jobs.js';
import { type Case, type CasePartName, figureOf } from './cases.js';
import { type Credentials, makeCredentials } from './credentials.js';
import { type FioJob, type FioResult, runFioJobs } from './fio.js';
import { measureWork } from './fixed-work.js';
import { makeImage } from './image.js';
import type { BenchOptions } from './options.js';
import { processorMicroseconds } from './processor-time.js';
import { type Image, type ServerName, startServer } from './servers.js';
import { inTurn } from './statistics.js';

export interface BenchRun {
  readonly options: BenchOptions;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** What one measurement found. */
export interface Measured {
  /** In the case's unit. */
  readonly speed: number;
  /** Processor time of the server for each request. */
  readonly processorMicroseconds: number;
  readonly latencyMicroseconds: FioResult['latencyMicroseconds'];
}

/** What was measured in one case: once a round for each server. */
export interface CaseResult {
  readonly case: Case;
  readonly measured: ReadonlyMap<ServerName, Measured[]>;
}

/** Before it is measured, each case runs for so long with connections of its own. */
export const WARM_UP_SECONDS = 0.5;
/** At depth 1, in which a server gets too few requests in half a second for V8 to have compiled what they run. */
export const DEPTH_1_WARM_UP_SECONDS = 2;
/** What the rest of a measurement takes, on average. */
const OTHER_SECONDS = 1.5;
/** Several processes of fio start three times. */
const OTHER_SECONDS_OF_SEVERAL = 3;
const MAX_ATTEMPTS = 20;

/**
 * Measures the cases of a part on every server, in turn, round by round. One set of files in `folder` is served by all of
 * them, because two copies can differ by a tenth in speed, depending on where in memory they are. Only one server runs
 * at a time, because tidemark and `before` would refuse a file that the other has locked.
 */
export async function measureThroughput(run: BenchRun, part: CasePartName, folder: string): Promise<CaseResult[]> {
  const { rounds, cases, servers } = run.options;
  const results = cases
    .filter((one) => one.part === part)
    .map((one) => ({ case: one, measured: new Map(servers.map((name): [ServerName, Measured[]] => [name, []])) }));
  const images = await makeImages(run.options, results[0]!.case.exports, folder);
  const credentials = part === 'tls' ? await makeCredentials(join(folder, 'tls')) : undefined;
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, measured } of results) {
      for (const name of inTurn(servers, round)) {
        const figures = await measure({ run, case: one, images, credentials }, name, folder);
        measured.get(name)!.push(figures);
        const shown = `${figures.speed.toFixed(1)} ${one.unit}, ${figures.processorMicroseconds.toFixed(1)} µs`;
        run.log(`round ${round + 1}/${rounds}  ${one.title}  ${name}  ${shown}`);
      }
    }
  }
  return results;
}

/** Files of `sizeBytes` together. */
async function makeImages({ sizeBytes }: BenchOptions, count: number, folder: string): Promise<Scene['images']> {
  const images: Image[] = [];
  for (let i = 0; i < count; i++) {
    const image = { path: join(folder, `disk-${i}.img`), exportName: `disk-${i}` };
    await makeImage(image.path, sizeBytes / count);
    images.push(image);
  }
  return images as [Image, ...Image[]];
}

interface Scene {
  readonly run: BenchRun;
  readonly case: Case;
  /** As many as the case has exports. */
  readonly images: readonly [Image, ...Image[]];
  readonly credentials: Credentials | undefined;
}

/**
 * Runs one case on a new server. Before writes the exports are overwritten, so that no write makes a clean granule dirty.
 * Warm-up and measurement are two runs of fio, so that the server's processor time is that of the requests counted.
 */
async function measure(
  { run, case: one, images, credentials }: Scene,
  name: ServerName,
  parent: string,
): Promise<Measured> {
  const { options, signal } = run;
  const pin = options.pin && one.part === 'single';
  const folder = await mkdtemp(join(parent, 'server-'));
  try {
    const certificates = credentials?.serverFolder;
    await using server = await startServer(name, { images, folder, signal, pin, certificates, before: options.before });
    const served = { uris: images.map(server.uri), sizeBytes: options.sizeBytes / images.length };
    const fio = (jobs: readonly FioJob[]) => runFioJobs(jobs, { folder, signal, pin, credentials });
    if (one.operation.endsWith('write')) await connected(() => fio(overwritingJobs(one, served)));
    return await (one.connections === 1 ? measureOne : measureSeveral)({
      case: one,
      served,
      options,
      fio,
      pids: server.pids,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A case on a server that runs. */
interface Running {
  readonly case: Case;
  readonly served: Served;
  readonly options: BenchOptions;
  readonly fio: (jobs: readonly FioJob[]) => Promise<FioResult>;
  readonly pids: readonly number[];
}

/** One connection, for some time. */
async function measureOne({ case: one, served, options, fio, pids }: Running): Promise<Measured> {
  await fio(jobsOf(one, served, warmUpSecondsOf(one)));
  const before = await processorMicroseconds(pids);
  const result = await fio(jobsOf(one, served, options.seconds));
  const used = (await processorMicroseconds(pids)) - before;
  const { latencyMicroseconds, requests } = result;
  return { speed: figureOf(one, result), processorMicroseconds: used / requests, latencyMicroseconds };
}

/** Several connections, until each has done as much as the server can do in that time. */
async function measureSeveral({ case: one, served, options, fio, pids }: Running): Promise<Measured> {
  const rate = await connected(async () => {
    const began = performance.now();
    const { requests } = await fio(jobsOf(one, served, WARM_UP_SECONDS));
    return (1000 * requests) / (performance.now() - began);
  });
  const work = await measureWork(jobsOf(one, served), { rate, seconds: options.seconds }, fio, pids, connected);
  const { processorMicroseconds } = work;
  return { speed: figureOf(one, work), processorMicroseconds, latencyMicroseconds: undefined };
}

/** All connections are opened at once, and nbd-server lets only ten clients wait: another try then. */
async function connected<T>(attempt: () => Promise<T>): Promise<T> {
  for (let left = MAX_ATTEMPTS; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 1 || !String(error).includes('server backlog overflowed')) throw error;
    }
  }
}

/** About how long the cases of a part take, with starts, warm-up and fio's own delays. */
export function throughputSeconds({ rounds, seconds, cases, servers }: BenchOptions, part: CasePartName): number {
  const own = cases.filter((one) => one.part === part);
  const warmUpSeconds = own.reduce((sum, one) => sum + warmUpSecondsOf(one), 0);
  const other = part === 'single' ? OTHER_SECONDS : OTHER_SECONDS_OF_SEVERAL;
  return rounds * servers.length * (own.length * (seconds + other) + warmUpSeconds);
}

function warmUpSecondsOf({ depth }: Case): number {
  return depth === 1 ? DEPTH_1_WARM_UP_SECONDS : WARM_UP_SECONDS;
}
