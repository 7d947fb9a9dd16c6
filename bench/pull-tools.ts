import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB } from '../src/base/units.js';
import { Program } from './program.js';
import type { Goal } from './report/goals.js';
import { controlIn, tidemark } from './servers.js';
import { inTurn } from './statistics.js';
import type { BenchRun } from './throughput.js';

/** One way to do something with backups, measured once a round. */
export interface PullFigures {
  readonly title: string;
  readonly seconds: number[];
  /** Processor time of the program itself; a server is not counted. */
  readonly processorSeconds: number[];
  /** Undefined if the tool does not say. */
  readonly readBytes: number | undefined;
  /** To the file of the backup or the disk. */
  readonly writtenBytes: number;
  /** The title of the way to compare its time with. */
  readonly rival?: string | undefined;
  readonly goal?: Goal | undefined;
}

/** How long a program ran. */
export interface Timed {
  readonly seconds: number;
  readonly processorSeconds: number;
}

interface Way extends PullFigures {
  writtenBytes: number;
  readonly take: () => Promise<Timed & { readonly writtenBytes: number }>;
}

export function wayOf(title: string, facts: Pick<PullFigures, 'readBytes' | 'rival' | 'goal'>, take: Way['take']): Way {
  return { title, take, seconds: [], processorSeconds: [], writtenBytes: 0, ...facts };
}

/** Measures every way once in each round. */
export async function measureWays(
  { log }: BenchRun,
  what: string,
  ways: readonly Way[],
  rounds: number,
): Promise<PullFigures[]> {
  for (let round = 0; round < rounds; round++) {
    for (const way of inTurn(ways, round)) {
      const { seconds, processorSeconds, writtenBytes } = await way.take();
      way.seconds.push(seconds);
      way.processorSeconds.push(processorSeconds);
      way.writtenBytes = writtenBytes;
    }
    const latest = ways.map(({ title, seconds }) => `${title} ${seconds.at(-1)!.toFixed(2)} s`).join(', ');
    log(`round ${round + 1}/${rounds}  ${what}: ${latest}`);
  }
  return [...ways];
}

/** Where `pullWith` puts its backups. */
export function backupsIn(folder: string): string {
  return join(folder, 'backups');
}

interface Pulled extends Timed {
  readonly readBytes: number;
  readonly fileBytes: number;
  readonly path: string;
}

/** Runs `tidemark pull` against the server in that folder. Its time is that of the whole program. */
export async function pullWith(run: BenchRun, folder: string, exportName: string, ...args: string[]): Promise<Pulled> {
  const places = ['--to', backupsIn(folder), '--control', controlIn(folder)];
  const { output, ...time } = await runTidemark(run, 'pull', exportName, '--bitmap', 'nightly', ...places, ...args);
  // Before the document it says on stderr why a backup is full.
  const [image] = JSON.parse(output.slice(output.indexOf('{'))).images;
  return { ...image, ...time };
}

/** Runs a command of tidemark, and resolves also to its output: one JSON document. */
export async function runTidemark(run: BenchRun, ...args: string[]): Promise<Timed & { readonly output: string }> {
  return await timed(run, process.execPath, tidemark, ...args, '--json');
}

/** Runs a program. The programs of the bench run one after the other, beside its servers. */
export async function timed(
  { signal }: BenchRun,
  program: string,
  ...args: string[]
): Promise<Timed & { readonly output: string }> {
  const processorBefore = await secondsOfEndedChildren();
  const started = performance.now();
  await using running = new Program([program, ...args], signal);
  const output = await running.finished();
  const seconds = (performance.now() - started) / 1000;
  return { output, seconds, processorSeconds: (await secondsOfEndedChildren()) - processorBefore };
}

/** The processor time of all programs that this one has run to their end. cutime and cstime of /proc/self/stat, in ticks of 10 ms: the name in brackets and thirteen fields come first. */
export async function secondsOfEndedChildren(): Promise<number> {
  const text = await readFile('/proc/self/stat', 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}

export async function allocatedBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

/** The granularity of the bitmap, and of qcow2 images. */
export const GRANULE_BYTES = 64 * KIB;
