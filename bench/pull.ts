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
  /** Everything of a disk without holes. */
  readonly full: { readonly sizeBytes: number; readonly figures: readonly PullFigures[] };
  /** What changed on a disk. */
  readonly increment: PulledIncrement;
}

const full = { fullBytes: 4 * GIB, disk: { sizeBytes: 20 * GIB, dataBytes: 2 * GIB } };
const quick = { fullBytes: 512 * MIB, disk: { sizeBytes: 2 * GIB, dataBytes: 256 * MIB } };
/** A round takes a second or ten, and memory for three disks. */
const ROUNDS = 5;
/** Of a disk: for the copy of it, and what else is at work meanwhile. */
const KEPT_FACTOR = 1.25;

/** `folder` is in memory, so that no disk is measured. */
export async function measurePull(run: BenchRun, folder: string): Promise<PullResults> {
  const isQuick = run.options.rounds === 1;
  const { fullBytes, disk } = isQuick ? quick : full;
  const rounds = isQuick ? 1 : ROUNDS;
  return {
    full: { sizeBytes: fullBytes, figures: await pullEverything(run, folder, fullBytes, rounds) },
    increment: await pullIncrement(run, folder, { ...disk, changedBytes: disk.sizeBytes / 100, rounds }),
  };
}

interface Figures extends PullFigures {
  writtenBytes: number;
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
  const figuresOf = (title: string): Figures => ({ title, seconds: [], readBytes: sizeBytes, writtenBytes: 0 });
  const [ours, theirs] = [figuresOf('tidemark pull'), figuresOf('nbdcopy to a raw file')];
  await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
  for (let round = 0; round < rounds; round++) {
    const pulled = await pullWith(run, folder, image.exportName);
    ours.seconds.push(pulled.seconds);
    ours.writtenBytes = pulled.fileBytes;
    await rm(backupsIn(folder), { recursive: true });

    const raw = join(folder, 'copy.img');
    theirs.seconds.push(await timed(run, 'nbdcopy', server.uri(image), raw));
    theirs.writtenBytes = await allocatedBytes(raw);
    await rm(raw);
    const latest = [ours, theirs].map(({ title, seconds }) => `${title} ${seconds.at(-1)!.toFixed(2)} s`).join(', ');
    log(`round ${round + 1}/${rounds}  everything of ${sizeBytes / GIB} GiB: ${latest}`);
  }
  await rm(folder, { recursive: true });
  return [ours, theirs];
}
