import { randomFillSync } from 'node:crypto';
import { mkdir, open, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MIB } from '../src/base/units.js';
import { NbdClient } from '../src/client/nbd-client.js';
import { Random, testSeed } from '../test/support/random.js';
import { Program } from './program.js';
import {
  allocatedBytes,
  backupsIn,
  GRANULE_BYTES,
  type PullFigures,
  pullWith,
  secondsOfEndedChildren,
  type Timed,
  timed,
} from './pull-tools.js';
import { type Image, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export interface IncrementOptions {
  readonly sizeBytes: number;
  /** How much of the disk has data: pieces of 1 MiB, spread evenly over it. */
  readonly dataBytes: number;
  /** The size of the changed granules, which are chosen at random. */
  readonly changedBytes: number;
  readonly rounds: number;
}

export interface PulledIncrement {
  readonly sizeBytes: number;
  readonly dataBytes: number;
  readonly changedBytes: number;
  readonly figures: readonly PullFigures[];
}

interface Scene {
  readonly run: BenchRun;
  readonly folder: string;
  readonly image: Image;
  readonly options: IncrementOptions;
  readonly random: Random;
}

const BITMAP = 'nightly';
const WITH_QEMU = 'qemu-img and qemu-io';
const CONTEXT = `qemu:dirty-bitmap:${BITMAP}`;

/** Takes an increment of a sparse disk with tidemark and with QEMU's tools, and copies all of its data with nbdcopy. */
export async function pullIncrement(
  run: BenchRun,
  parent: string,
  options: IncrementOptions,
): Promise<PulledIncrement> {
  const folder = join(parent, 'increment');
  await mkdir(folder);
  const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  const scene = { run, folder, image, options, random: new Random(testSeed()) };
  await makeSparseImage(scene);
  const ours = await withTidemark(scene);
  const qemus = await withQemu(scene);
  await rm(folder, { recursive: true });
  const { sizeBytes, dataBytes, changedBytes } = options;
  return { sizeBytes, dataBytes, changedBytes, figures: [ours.pulled, qemus, ours.copied] };
}

function noFigures(title: string) {
  return { title, seconds: [] as number[], processorSeconds: [] as number[] };
}

async function makeSparseImage({ image, options: { sizeBytes, dataBytes } }: Scene): Promise<void> {
  const file = await open(image.path, 'wx');
  try {
    await file.truncate(sizeBytes);
    const piece = randomFillSync(Buffer.allocUnsafe(MIB));
    const pieces = dataBytes / MIB;
    const stride = Math.floor(sizeBytes / pieces / MIB) * MIB;
    for (let i = 0; i < pieces; i++) await file.write(piece, 0, MIB, i * stride);
  } finally {
    await file.close();
  }
}

/** Writes granules at random to an export. */
export async function changeGranules(
  uri: string,
  random: Random,
  { sizeBytes, changedBytes }: { readonly sizeBytes: number; readonly changedBytes: number },
): Promise<void> {
  const client = await NbdClient.connect(uri);
  const data = randomFillSync(Buffer.allocUnsafe(GRANULE_BYTES));
  const granules = new Set<number>();
  while (granules.size < changedBytes / GRANULE_BYTES) {
    granules.add(random.below(sizeBytes / GRANULE_BYTES));
  }
  for (const granule of granules) await client.write(granule * GRANULE_BYTES, data);
  await client.flush();
  await client.disconnect();
}

async function withTidemark(scene: Scene): Promise<{ pulled: PullFigures; copied: PullFigures }> {
  const { run, folder, image, options } = scene;
  const pulled = { ...noFigures('tidemark pull'), readBytes: 0, writtenBytes: 0, rival: WITH_QEMU };
  const copied = { ...noFigures('nbdcopy of everything'), readBytes: undefined, writtenBytes: 0 };
  await using server = await startServer('tidemark', {
    images: [image],
    folder,
    signal: run.signal,
    pin: run.options.pin,
  });
  await pullWith(run, folder, image.exportName);
  for (let round = 0; round < options.rounds; round++) {
    await changeGranules(server.uri(image), scene.random, options);
    const { seconds, processorSeconds, readBytes, fileBytes } = await pullWith(run, folder, image.exportName);
    pulled.seconds.push(seconds);
    pulled.processorSeconds.push(processorSeconds);
    Object.assign(pulled, { readBytes, writtenBytes: fileBytes });
    const raw = join(folder, 'copy.img');
    const copy = await timed(run, 'nbdcopy', server.uri(image), raw);
    copied.seconds.push(copy.seconds);
    copied.processorSeconds.push(copy.processorSeconds);
    copied.writtenBytes = await allocatedBytes(raw);
    await rm(raw);
    run.log(`round ${round + 1}/${options.rounds}  an increment: tidemark pull ${seconds.toFixed(2)} s`);
  }
  await rm(backupsIn(folder), { recursive: true });
  return { pulled, copied };
}

/**
 * The same with a qcow2 image, its persistent bitmap, and qemu-nbd: qemu-img map says what is dirty, and reading those
 * parts through an overlay that copies on read (qemu-io -C) fills the overlay.
 */
async function withQemu(scene: Scene): Promise<PullFigures> {
  const { run, folder, image, options } = scene;
  const { signal, log } = run;
  const figures = { ...noFigures(WITH_QEMU), readBytes: undefined, writtenBytes: 0 };
  const disk = join(folder, 'disk.qcow2');
  await timed(run, 'qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', image.path, disk);
  await rm(image.path);
  for (let round = 0; round < options.rounds; round++) {
    await timed(run, 'qemu-img', 'bitmap', '--add', disk, BITMAP);
    const socket = join(folder, 'qemu.sock');
    {
      await using _writable = await startQemuNbd(['-f', 'qcow2', disk], socket, signal);
      await changeGranules(uriOf(socket), scene.random, options);
    }
    const increment = join(folder, 'increment.qcow2');
    {
      await using _readable = await startQemuNbd(['-f', 'qcow2', '--read-only', '-B', BITMAP, disk], socket, signal);
      const { seconds, processorSeconds } = await takeWithQemu(run, socket, increment);
      figures.seconds.push(seconds);
      figures.processorSeconds.push(processorSeconds);
    }
    figures.writtenBytes = await allocatedBytes(increment);
    await rm(increment);
    await timed(run, 'qemu-img', 'bitmap', '--remove', disk, BITMAP);
    log(
      `round ${round + 1}/${options.rounds}  an increment: qemu-img and qemu-io ${figures.seconds.at(-1)!.toFixed(2)} s`,
    );
  }
  return figures;
}

function uriOf(socket: string): string {
  return `nbd+unix:///?socket=${socket}`;
}

async function startQemuNbd(args: readonly string[], socket: string, signal: AbortSignal): Promise<Program> {
  await rm(socket, { force: true });
  const program = new Program(['qemu-nbd', '--persistent', '--shared=0', '-k', socket, ...args], signal);
  for (let i = 0; i < 500; i++) {
    const client = await NbdClient.connect(uriOf(socket)).catch(() => undefined);
    await client?.disconnect();
    if (client) return program;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  await program[Symbol.asyncDispose]();
  throw new Error(`qemu-nbd does not listen:\n${program.output}`);
}

async function takeWithQemu(run: BenchRun, socket: string, increment: string): Promise<Timed> {
  const before = await secondsOfEndedChildren();
  const started = performance.now();
  const node = `driver=nbd,server.type=unix,server.path=${socket},x-dirty-bitmap=${CONTEXT}`;
  const { output } = await timed(run, 'qemu-img', 'map', '--output=json', '--image-opts', node);
  const extents: { start: number; length: number; data: boolean }[] = JSON.parse(output);
  // QEMU shows dirty parts as "no data".
  const commands = extents.filter(({ data }) => !data).map(({ start, length }) => `read ${start} ${length}`);
  const script = `${increment}.commands`;
  await writeFile(script, `${commands.join('\n')}\n`);
  await timed(run, 'qemu-img', 'create', '-q', '-f', 'qcow2', '-b', uriOf(socket), '-F', 'raw', increment);
  await timed(run, 'sh', '-c', 'qemu-io -C -f qcow2 "$0" < "$1" > /dev/null', increment, script);
  await timed(run, 'qemu-img', 'rebase', '-u', '-f', 'qcow2', '-b', '', increment);
  const seconds = (performance.now() - started) / 1000;
  return { seconds, processorSeconds: (await secondsOfEndedChildren()) - before };
}
