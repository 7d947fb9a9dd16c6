import { open, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PAGE_BYTES } from '../src/base/bit-array.js';
import { silentLog } from '../src/base/log.js';
import { KIB, TIB } from '../src/base/units.js';
import { BitmapSet } from '../src/bitmap/bitmap-set.js';
import { ServerStore } from '../src/bitmap/store/open-store.js';
import { PersistentBitmaps } from '../src/bitmap/store/persistent-bitmaps.js';
import { type DiskIdentity, identifyDisk } from '../src/storage/image/disk-identity.js';
import { makeCold } from './image.js';
import { startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export const DISK_BYTES = 16 * TIB;
export const BITMAPS = 10;
const EVERY_OTHER_BIT = 0x55;

export interface StartResult {
  /** The store's file was in the page cache. */
  readonly cached: boolean;
  /** From the start until the server greeted a client, and until it took commands. */
  readonly greetingMilliseconds: number[];
  readonly commandMilliseconds: number[];
  /** When it was ready: its own memory, and its own memory together with the resident part of mapped files. */
  readonly ownBytes: number[];
  readonly residentBytes: number[];
}

/**
 * Starts tidemark with a disk of 16 TiB and 10 bitmaps, each with every other granule dirty. The state is in `folder`,
 * on a disk. The image is in tmpfs, because ext4 cannot hold a file of that size.
 */
export async function measureLargeStart(run: BenchRun, folder: string, tmpfs: string): Promise<StartResult[]> {
  const path = join(tmpfs, 'large.img');
  await writeFile(path, '');
  await truncate(path, DISK_BYTES);
  await writeState(join(folder, 'state', 'store'), path);
  const results = [true, false].map(
    (cached) =>
      ({ cached, greetingMilliseconds: [], commandMilliseconds: [], ownBytes: [], residentBytes: [] }) as StartResult,
  );
  for (let round = 0; round < startRounds(run.options); round++) {
    for (const result of results) await start(run, folder, path, result);
  }
  return results;
}

/** Starts are measured alone, so more rounds would say little more. */
export function startRounds({ rounds }: BenchRun['options']): number {
  return Math.min(rounds, 3);
}

async function identify(path: string): Promise<DiskIdentity> {
  const handle = await open(path);
  try {
    return await identifyDisk({ handle, sizeBytes: DISK_BYTES, localTimes: true, timesAtOnce: true });
  } finally {
    await handle.close();
  }
}

/** Writes the state that a server would leave. */
async function writeState(directory: string, path: string): Promise<void> {
  const bitmaps = new BitmapSet(DISK_BYTES);
  const store = await ServerStore.open(directory, silentLog);
  const persistence = await PersistentBitmaps.open({
    exportName: 'disk',
    bitmaps,
    store: store.entries,
    readOnly: false,
    identify: () => identify(path),
    limits: { regionBytes: 16 * KIB * KIB, maxActiveRegions: 512, coolAfterTicks: 5 },
    onBitmapError: 'refuse',
    log: silentLog,
  });
  const page = Buffer.alloc(PAGE_BYTES, EVERY_OTHER_BIT);
  for (let i = 0; i < BITMAPS; i++) {
    bitmaps.add({ name: `bitmap-${i}`, persistent: true });
    const { bits } = bitmaps.get(`bitmap-${i}`).arrays;
    for (let index = 0; index < bits.pageCount; index++) bits.loadPage(index, page);
  }
  await persistence.close();
  await store.close();
}

async function start(run: BenchRun, folder: string, path: string, result: StartResult): Promise<void> {
  if (!result.cached) await makeCold(join(folder, 'state', 'store', 'data.mdb'), run.signal);
  const began = performance.now();
  const images = [{ path, exportName: 'disk' }] as const;
  await using server = await startServer('tidemark', {
    images,
    folder,
    signal: run.signal,
    pin: false,
    bitmaps: 'as stored',
  });
  result.greetingMilliseconds.push(server.greetingMilliseconds);
  result.commandMilliseconds.push(performance.now() - began);
  const status = await readFile(`/proc/${server.program!.pid}/status`, 'utf8');
  const kibOf = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * KIB;
  result.ownBytes.push(kibOf('RssAnon'));
  result.residentBytes.push(kibOf('VmRSS'));
  run.log(`start with ${BITMAPS} large bitmaps: ${server.greetingMilliseconds.toFixed(0)} ms`);
}
