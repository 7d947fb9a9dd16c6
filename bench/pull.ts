import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, MIB } from '../src/base/units.js';
import { makeImage } from './image.js';
import { keepMemory } from './kept-memory.js';
import { type PulledIncrement, pullIncrement } from './pull-increment.js';
import { allocatedBytes, backupsIn, type PullFigures, pullWith, timed } from './pull-tools.js';
import { startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export interface PullResults {
  /** A full backup of a disk without holes. */
  readonly full: { readonly sizeBytes: number; readonly figures: readonly PullFigures[] };
  /** An increment. */
  readonly increment: PulledIncrement;
}

const full = { fullBytes: 4 * GIB, disk: { sizeBytes: 20 * GIB, dataBytes: 2 * GIB } };
const quick = { fullBytes: 512 * MIB, disk: { sizeBytes: 2 * GIB, dataBytes: 256 * MIB } };
/** A round takes up to ten seconds, and memory for three disks. */
const ROUNDS = 5;
/** How much free memory to keep, in sizes of the disk: for its copy, and for everything else that runs. */
const KEPT_FACTOR = 1.25;

/** `folder` is in memory, so that the figures do not depend on a disk. */
export async function measurePull(run: BenchRun, folder: string): Promise<PullResults> {
  const isQuick = run.options.rounds === 1;
  const { fullBytes, disk } = isQuick ? quick : full;
  const rounds = isQuick ? 1 : ROUNDS;
  return {
    full: { sizeBytes: fullBytes, figures: await pullEverything(run, folder, fullBytes, rounds) },
    increment: await pullIncrement(run, folder, { ...disk, changedBytes: disk.sizeBytes / 100, rounds }),
  };
}

/** One way to take a full backup. */
interface Way extends PullFigures {
  writtenBytes: number;
  readonly take: () => Promise<{ readonly seconds: number; readonly writtenBytes: number }>;
}

async function pullEverything(
  run: BenchRun,
  parent: string,
  sizeBytes: number,
  rounds: number,
): Promise<PullFigures[]> {
  const folder = join(parent, 'full');
  await mkdir(folder);
  const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await makeImage(image.path, sizeBytes);
  await keepMemory(join(folder, 'memory'), sizeBytes * KEPT_FACTOR);
  const { signal, options, log } = run;
  await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
  const pull = async (...args: string[]) => {
    const { seconds, fileBytes } = await pullWith(run, folder, image.exportName, '--full', ...args);
    await rm(backupsIn(folder), { recursive: true });
    return { seconds, writtenBytes: fileBytes };
  };
  const wayOf = (title: string, take: Way['take']): Way => ({
    ...{ title, take, seconds: [], readBytes: sizeBytes, writtenBytes: 0 },
  });
  const ways = [
    wayOf('tidemark pull', () => pull()),
    wayOf('nbdcopy to a raw file', () => copyRaw(run, server.uri(image), join(folder, 'copy.img'))),
    wayOf('tidemark pull --over-nbd', () => pull('--over-nbd')),
  ];
  for (let round = 0; round < rounds; round++) {
    for (const way of ways) {
      const { seconds, writtenBytes } = await way.take();
      way.seconds.push(seconds);
      way.writtenBytes = writtenBytes;
    }
    const latest = ways.map(({ title, seconds }) => `${title} ${seconds.at(-1)!.toFixed(2)} s`).join(', ');
    log(`round ${round + 1}/${rounds}  everything of ${sizeBytes / GIB} GiB: ${latest}`);
  }
  await rm(folder, { recursive: true });
  return ways;
}

async function copyRaw(run: BenchRun, uri: string, path: string): Promise<{ seconds: number; writtenBytes: number }> {
  const seconds = await timed(run, 'nbdcopy', uri, path);
  const writtenBytes = await allocatedBytes(path);
  await rm(path);
  return { seconds, writtenBytes };
}
