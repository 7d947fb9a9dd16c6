import { mkdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { GIB, KIB, MIB } from '../src/base/units.js';
import { ControlClient } from '../src/cli/control-client.js';
import { unixPlace } from '../src/cli/control-place.js';
import { NbdClient } from '../src/client/nbd-client.js';
import { beginBackup } from './begin-backup.js';
import { type FioJob, runFio } from './fio.js';
import { makeImage } from './image.js';
import { measureQemuCopies } from './qemu-copies.js';
import { controlIn, type Image, type RunningServer, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';
import { measureViewReads, type ViewReadResult } from './view-reads.js';

const SIZE_BYTES = GIB;
const EXPORT_COUNTS = [1, 4, 16];
const BEGINS = 20;
/** Exports that are written while backups begin. Writing to all 16 would take more processor time than there is. */
const MAX_WRITERS = 4;
const SPARSE_BYTES = 100 * GIB;
const SPARSE_DIRTY_BYTES = GIB;

const randomWrites = { operation: 'randwrite', blockBytes: 4 * KIB, depth: 32 } as const;

/** Each write is likely to be the first one to its 64 KiB. */
const firstPass = { ...randomWrites, alignBytes: 64 * KIB, sizeBytes: SIZE_BYTES, latency: false };

export interface ViewResult {
  /** Thousands of random writes per second, one figure a round. */
  readonly noView: { readonly firstPass: number[]; readonly afterwards: number[] };
  readonly view: { readonly firstPass: number[]; readonly afterwards: number[] };
  /** The first pass on a disk that QEMU copies before it is written, in clusters of 64 KiB. */
  readonly qemuFirstPass: number[];
  readonly reads: readonly ViewReadResult[];
  readonly pauses: readonly PauseResult[];
  readonly sparse: { readonly beginMilliseconds: number[]; readonly firstExtentsMilliseconds: number[] };
}

type WritesAndSparse = Omit<ViewResult, 'reads' | 'pauses'>;

interface PauseResult {
  readonly exports: number;
  /** How long writes waited at each begin. */
  readonly p99Milliseconds: number[];
  readonly maxMilliseconds: number[];
  /** The memory of one view, on average. */
  readonly bytesPerView: number;
}

/** Measures what an open view costs writers, how long they wait for a begin, and a begin on a large sparse disk. */
export async function measureViewCost(run: BenchRun, tmpfs: string, disk: string): Promise<ViewResult> {
  const result: WritesAndSparse = {
    noView: { firstPass: [], afterwards: [] },
    view: { firstPass: [], afterwards: [] },
    qemuFirstPass: [],
    sparse: { beginMilliseconds: [], firstExtentsMilliseconds: [] },
  };
  const image = { path: join(tmpfs, 'view.img'), exportName: 'disk' };
  await makeImage(image.path, SIZE_BYTES);
  for (let round = 0; round < run.options.rounds; round++) {
    // The one that is first in one round is second in the next.
    const modes = round % 2 === 0 ? (['noView', 'view'] as const) : (['view', 'noView'] as const);
    for (const mode of modes) await measureWrites(run, tmpfs, image, mode, result);
    await measureQemu(run, tmpfs, image, result.qemuFirstPass);
  }
  const reads = await measureViewReads(run, tmpfs, image, SIZE_BYTES);
  await rm(image.path);
  const pauses = [];
  for (const count of EXPORT_COUNTS) pauses.push(await measurePauses(run, join(tmpfs, `pause-${count}`), count));
  await measureSparse(run, join(disk, 'sparse'), result.sparse);
  return { ...result, reads, pauses };
}

/** Two passes over a server on which everything is dirty already, so that no region has to be marked. */
async function measureWrites(
  run: BenchRun,
  parent: string,
  image: Image,
  mode: 'noView' | 'view',
  result: WritesAndSparse,
): Promise<void> {
  const { options, signal, log } = run;
  const folder = join(parent, 'view');
  await mkdir(folder);
  {
    await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
    const once = { ...firstPass, uri: server.uri(image) };
    const environment = { folder, signal, pin: options.pin };
    // The first pass of all compiles what the second one needs.
    const { id } = mode === 'view' ? await beginBackup(folder, ['disk']) : { id: undefined };
    await runFio(once, environment);
    if (id !== undefined) {
      await new ControlClient(unixPlace(controlIn(folder))).post(['backups', id, 'abort']);
      await beginBackup(folder, ['disk']);
    }
    const first = await runFio(once, environment);
    const { alignBytes: _, ...anywhere } = once;
    // Everything that the view still needs is copied now.
    await runFio({ ...anywhere, operation: 'write', blockBytes: 256 * KIB }, environment);
    const later = await runFio({ ...anywhere, seconds: options.seconds, warmUpSeconds: 1 }, environment);
    result[mode].firstPass.push(first.iops / 1000);
    result[mode].afterwards.push(later.iops / 1000);
    log(
      `${mode}  first pass ${(first.iops / 1000).toFixed(1)} kIOPS  afterwards ${(later.iops / 1000).toFixed(1)} kIOPS`,
    );
  }
  await rm(folder, { recursive: true });
}

async function measureQemu(run: BenchRun, parent: string, image: Image, iops: number[]): Promise<void> {
  const { options, signal, log } = run;
  const folder = join(parent, 'qemu');
  await mkdir(folder);
  const measured = await measureQemuCopies(image, firstPass, { folder, signal, pin: options.pin });
  iops.push(measured / 1000);
  log(`QEMU's copy-before-write  first pass ${(measured / 1000).toFixed(1)} kIOPS`);
  await rm(folder, { recursive: true });
}

async function measurePauses(run: BenchRun, folder: string, count: number): Promise<PauseResult> {
  const { options, signal, log } = run;
  await mkdir(folder);
  const images: Image[] = [];
  for (let i = 0; i < count; i++) {
    const image = { path: join(folder, `disk${i}.img`), exportName: `disk${i}` };
    await makeImage(image.path, 32 * MIB);
    images.push(image);
  }
  await using server = await startServer('tidemark', {
    images: images as [Image, ...Image[]],
    folder,
    signal,
    pin: options.pin,
  });
  const over = new AbortController();
  const writers = images.slice(0, MAX_WRITERS).map((image) => {
    const job: FioJob = {
      ...randomWrites,
      depth: 4,
      uri: server.uri(image),
      sizeBytes: 32 * MIB,
      seconds: 600,
      latency: false,
    };
    const environment = { folder, signal: AbortSignal.any([signal, over.signal]), pin: options.pin };
    return runFio(job, environment).catch(() => {});
  });
  await delay(1000);
  const names = images.map(({ exportName }) => exportName);
  const result = { exports: count, p99Milliseconds: [] as number[], maxMilliseconds: [] as number[], bytesPerView: 0 };
  for (let i = 0; i < BEGINS; i++) {
    const { id, heldWrites } = await beginBackup(folder, names);
    result.p99Milliseconds.push(heldWrites.p99Milliseconds);
    result.maxMilliseconds.push(heldWrites.maxMilliseconds);
    await new ControlClient(unixPlace(controlIn(folder))).post(['backups', id, 'abort']);
  }
  over.abort();
  await Promise.all(writers);
  result.bytesPerView = await measureMemory(server, folder, names);
  log(
    `begin on ${count} exports: writes waited ${result.p99Milliseconds.map((ms) => ms.toFixed(1)).join(' ')} ms (p99)`,
  );
  await rm(folder, { recursive: true });
  return result;
}

/** The memory of a view while nothing is written. */
async function measureMemory(server: RunningServer, folder: string, names: readonly string[]): Promise<number> {
  const before = await residentBytes(server);
  await beginBackup(folder, names);
  return Math.max(0, (await residentBytes(server)) - before) / names.length;
}

async function measureSparse(run: BenchRun, folder: string, result: ViewResult['sparse']): Promise<void> {
  const { options, signal, log } = run;
  await mkdir(folder);
  const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await writeFile(image.path, '');
  await truncate(image.path, SPARSE_BYTES);
  await using server = await startServer('tidemark', { images: [image], folder, signal, pin: options.pin });
  const control = controlIn(folder);
  // A first backup, so that the next is an increment.
  const { id } = await beginBackup(folder, ['disk']);
  await new ControlClient(unixPlace(control)).post(['backups', id, 'commit']);
  const job = {
    operation: 'randwrite',
    blockBytes: 64 * KIB,
    depth: 16,
    uri: server.uri(image),
    latency: false,
  } as const;
  await runFio(
    { ...job, sizeBytes: SPARSE_BYTES, alignBytes: 64 * KIB, ioBytes: SPARSE_DIRTY_BYTES },
    { folder, signal, pin: options.pin },
  );
  for (let round = 0; round < options.rounds; round++) {
    const began = performance.now();
    const backup = await beginBackup(folder, ['disk']);
    const hasBegun = performance.now();
    const { uri, context } = backup.exports[0]!;
    const client = await NbdClient.connect(uri, { contexts: [context] });
    await client.blockStatus(0, 64 * MIB);
    const told = performance.now();
    await client.disconnect();
    await new ControlClient(unixPlace(control)).post(['backups', backup.id, 'abort']);
    result.beginMilliseconds.push(hasBegun - began);
    result.firstExtentsMilliseconds.push(told - hasBegun);
    log(
      `begin on 100 GiB: ${(hasBegun - began).toFixed(1)} ms, first extents ${(told - hasBegun).toFixed(1)} ms later`,
    );
  }
}

async function residentBytes(server: RunningServer): Promise<number> {
  const status = await readFile(`/proc/${server.program!.pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * KIB;
}
