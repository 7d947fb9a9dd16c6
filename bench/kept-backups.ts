import { cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { GIB } from '../src/base/units.js';
import { Random, testSeed } from '../test/support/random.js';
import { makeImage } from './image.js';
import { keepMemory } from './kept-memory.js';
import { changeGranules } from './pull-increment.js';
import {
  allocatedBytes,
  backupsIn,
  measureWays,
  type PullFigures,
  pullWith,
  runTidemark,
  timed,
  wayOf,
} from './pull-tools.js';
import { type Image, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

interface KeptOptions {
  readonly sizeBytes: number;
  /** How much each of the two increments holds, in granules at random. */
  readonly changedBytes: number;
  readonly rounds: number;
}

/** What is done with a full image and two increments on top of it. */
export interface KeptBackups extends KeptOptions {
  readonly figures: readonly PullFigures[];
}

const TO_RAW = 'qemu-img convert to a raw file';
const TO_QCOW2 = 'qemu-img convert to a qcow2 image';
/** How much free memory to keep, as a multiple of the disk: for a copy of the images, and for what is made from them. */
const KEPT_FACTOR = 2.25;

/** Restores, verifies and prunes a chain of backups, and converts it with qemu-img. */
export async function measureKept(run: BenchRun, parent: string, options: KeptOptions): Promise<KeptBackups> {
  const folder = join(parent, 'kept');
  await mkdir(folder);
  const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  const paths = await takeBackups(run, folder, image, options);
  await rm(image.path);
  await keepMemory(join(folder, 'memory'), options.sizeBytes * KEPT_FACTOR);
  const figures = await measureWays(
    run,
    `backups of ${options.sizeBytes / GIB} GiB`,
    waysOf(run, folder, image, paths),
    options.rounds,
  );
  await rm(folder, { recursive: true });
  return { ...options, figures };
}

/** Resolves to the paths of the images, the oldest first. */
async function takeBackups(run: BenchRun, folder: string, image: Image, options: KeptOptions): Promise<string[]> {
  await makeImage(image.path, options.sizeBytes);
  const { signal, options: bench } = run;
  await using server = await startServer('tidemark', { images: [image], folder, signal, pin: bench.pin });
  const random = new Random(testSeed());
  const paths = [(await pullWith(run, folder, image.exportName)).path];
  for (let increment = 0; increment < 2; increment++) {
    await changeGranules(server.uri(image), random, options);
    paths.push((await pullWith(run, folder, image.exportName)).path);
  }
  return paths;
}

function waysOf(run: BenchRun, folder: string, { exportName }: Image, paths: readonly string[]) {
  const backups = backupsIn(folder);
  const target = join(folder, 'result');
  /** Runs something that writes the target, and removes it. */
  const making = async (work: () => ReturnType<typeof timed>) => {
    const time = await work();
    const writtenBytes = await allocatedBytes(target);
    await rm(target);
    return { ...time, writtenBytes };
  };
  const convert = (format: string, path: string) =>
    making(() => timed(run, 'qemu-img', 'convert', '-f', 'qcow2', '-O', format, path, target));
  const restore = (...args: string[]) =>
    making(() => runTidemark(run, 'restore', backups, exportName, '--to', target, ...args));
  const nothing = { readBytes: undefined };
  const compared = (rival: string) => ({ ...nothing, rival, goal: { atMost: 1 } });
  return [
    wayOf('tidemark restore', compared(TO_RAW), () => restore()),
    wayOf(TO_RAW, nothing, () => convert('raw', paths.at(-1)!)),
    wayOf('tidemark verify', compared(TO_RAW), async () => {
      return { ...(await runTidemark(run, 'verify', backups)), writtenBytes: 0 };
    }),
    wayOf('tidemark prune', compared(TO_QCOW2), async () => {
      const copy = join(folder, 'pruned');
      await cp(backups, copy, { recursive: true });
      const time = await runTidemark(run, 'prune', copy, '--keep', '2');
      const writtenBytes = await allocatedBytes(paths[1]!.replace(backups, copy));
      await rm(copy, { recursive: true });
      return { ...time, writtenBytes };
    }),
    wayOf(TO_QCOW2, nothing, () => convert('qcow2', paths[1]!)),
  ];
}
