import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB, MIB } from '../src/base/units.js';
import { makeImage } from './image.js';
import { type KeptBackups, measureKept } from './kept-backups.js';
import { keepMemory } from './kept-memory.js';
import { type PulledIncrement, pullIncrement } from './pull-increment.js';
import { allocatedBytes, backupsIn, measureWays, type PullFigures, pullWith, timed, wayOf } from './pull-tools.js';
import { startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export interface PullResults {
  /** A full backup of a disk without holes. */
  readonly full: { readonly sizeBytes: number; readonly figures: readonly PullFigures[] };
  /** An increment. */
  readonly increment: PulledIncrement;
  readonly kept: KeptBackups;
}

const full = { fullBytes: 4 * GIB, disk: { sizeBytes: 20 * GIB, dataBytes: 2 * GIB } };
const quick = { fullBytes: 512 * MIB, disk: { sizeBytes: 2 * GIB, dataBytes: 256 * MIB } };
/** A round takes up to twenty seconds, and memory for three disks. */
const ROUNDS = 7;
/** How much free memory to keep, as a multiple of the disk: for its copy, and for everything else that runs. */
const KEPT_FACTOR = 1.25;

/** `folder` is in memory, so that the figures do not depend on a disk. */
export async function measurePull(run: BenchRun, folder: string): Promise<PullResults> {
  const isQuick = run.options.quick || run.options.rounds === 1;
  const { fullBytes, disk } = isQuick ? quick : full;
  const rounds = isQuick ? 1 : ROUNDS;
  return {
    full: { sizeBytes: fullBytes, figures: await pullEverything(run, folder, fullBytes, rounds) },
    increment: await pullIncrement(run, folder, { ...disk, changedBytes: disk.sizeBytes / 100, rounds }),
    kept: await measureKept(run, folder, { sizeBytes: fullBytes, changedBytes: fullBytes / 20, rounds }),
  };
}

const NBDCOPY = 'nbdcopy to a raw file';

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
  const { signal, options } = run;
  await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
  const pull = async (...args: string[]) => {
    const { fileBytes, ...time } = await pullWith(run, folder, image.exportName, '--full', ...args);
    await rm(backupsIn(folder), { recursive: true });
    return { ...time, writtenBytes: fileBytes };
  };
  const raw = join(folder, 'copy.img');
  const compared = (atMost: number) => ({ readBytes: sizeBytes, rival: NBDCOPY, goal: { atMost } });
  const ways = [
    wayOf('tidemark pull', compared(0.8), () => pull()),
    wayOf(NBDCOPY, { readBytes: sizeBytes }, async () => {
      const time = await timed(run, 'nbdcopy', server.uri(image), raw);
      const writtenBytes = await allocatedBytes(raw);
      await rm(raw);
      return { ...time, writtenBytes };
    }),
    wayOf('tidemark pull --over-nbd', compared(1), () => pull('--over-nbd')),
  ];
  const figures = await measureWays(run, `everything of ${sizeBytes / GIB} GiB`, ways, rounds);
  await rm(folder, { recursive: true });
  return figures;
}
