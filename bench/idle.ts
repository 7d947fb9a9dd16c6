import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { KIB, MIB } from '../src/base/units.js';
import { NbdClient } from '../src/client/nbd-client.js';
import { makeImage } from './image.js';
import { processorMicroseconds, withDescendants } from './processor-time.js';
import { type ServerName, startServer } from './servers.js';
import type { BenchRun } from './throughput.js';

export const CLIENTS = 100;
export const IDLE_SECONDS = 20;
/** So long a server may still be busy with what came before. */
const SETTLE_SECONDS = 2;
const IMAGE_BYTES = 64 * MIB;

/** What an idle server needs, one figure a round. */
export interface IdleResult {
  readonly server: ServerName;
  /** Before the first client came. */
  readonly bytes: number[];
  /** What the clients added, divided by their number. */
  readonly bytesPerClient: number[];
  /** With all clients connected. */
  readonly processorMillisecondsPerMinute: number[];
}

/** Measures the servers side by side, because one that does nothing does not disturb another. */
export async function measureIdle(run: BenchRun, folder: string): Promise<IdleResult[]> {
  const results = run.options.servers.map((server) => ({
    ...{ server, bytes: [], bytesPerClient: [], processorMillisecondsPerMinute: [] },
  }));
  for (let round = 0; round < idleRounds(run.options); round++) {
    await Promise.all(results.map((result) => measureServer(run, join(folder, `${result.server}-${round}`), result)));
  }
  return results;
}

/** Memory and idle time hardly vary. */
export function idleRounds({ rounds }: BenchRun['options']): number {
  return Math.min(rounds, 2);
}

async function measureServer({ options, signal, log }: BenchRun, folder: string, result: IdleResult): Promise<void> {
  await mkdir(folder);
  const image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await makeImage(image.path, IMAGE_BYTES);
  await using server = await startServer(result.server, {
    ...{ images: [image], folder, signal, pin: false, before: options.before },
  });
  const settle = () => delay(SETTLE_SECONDS * 1000, undefined, { signal });
  await settle();
  const bytes = await ownBytesOf(server.pids);
  const clients: NbdClient[] = [];
  for (let i = 0; i < CLIENTS; i++) clients.push(await connectAndUse(server.uri(image)));
  await settle();
  const bytesPerClient = ((await ownBytesOf(server.pids)) - bytes) / CLIENTS;
  const before = await processorMicroseconds(server.pids);
  await delay(IDLE_SECONDS * 1000, undefined, { signal });
  const milliseconds = ((await processorMicroseconds(server.pids)) - before) / 1000;
  for (const client of clients) await client.disconnect();
  result.bytes.push(bytes);
  result.bytesPerClient.push(bytesPerClient);
  result.processorMillisecondsPerMinute.push((milliseconds * 60) / IDLE_SECONDS);
  log(`idle ${result.server}: ${(bytes / MIB).toFixed(1)} MiB, ${(bytesPerClient / KIB).toFixed(1)} KiB a client`);
}

async function connectAndUse(uri: string): Promise<NbdClient> {
  const client = await NbdClient.connect(uri);
  await client.write(0, await client.read(0, 4 * KIB));
  return client;
}

/** The anonymous memory of the processes and their descendants. Memory that several of them share counts once. */
export async function ownBytesOf(pids: readonly number[]): Promise<number> {
  const memory = withDescendants(pids).map(async (pid) => {
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss_Anon:\s+(\d+) kB$/m.exec(rollup)?.[1]) * KIB;
  });
  return (await Promise.all(memory)).reduce((sum, bytes) => sum + bytes, 0);
}
