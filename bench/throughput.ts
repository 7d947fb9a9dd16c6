import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Case, figureOf } from './cases.js';
import { runFio } from './fio.js';
import { makeImage } from './image.js';
import type { BenchOptions } from './options.js';
import { type Image, type RunningServer, type ServerName, startServer } from './servers.js';

export interface BenchRun {
  readonly options: BenchOptions;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** Figures of one case: for each server one a round, in the case's unit. */
export interface CaseResult {
  readonly case: Case;
  readonly figures: ReadonlyMap<ServerName, number[]>;
}

/**
 * Measures the cases on every server, all in turn, round by round. All serve one file in `folder`: of two copies one
 * lies better in memory, by a tenth and more.
 */
export async function measureThroughput(run: BenchRun, folder: string): Promise<CaseResult[]> {
  const { options, signal } = run;
  const image: Image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await makeImage(image.path, options.sizeBytes);
  const servers: RunningServer[] = [];
  try {
    for (const name of options.servers) {
      const own = join(folder, name);
      await mkdir(own);
      servers.push(await startServer(name, { images: [image], folder: own, signal, pin: options.pin }));
    }
    return await measureRounds(run, servers, image, folder);
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
}

async function measureRounds(
  run: BenchRun,
  servers: readonly RunningServer[],
  image: Image,
  folder: string,
): Promise<CaseResult[]> {
  const { rounds, cases } = run.options;
  const results = cases.map((one) => ({
    case: one,
    figures: new Map(servers.map(({ name }): [ServerName, number[]] => [name, []])),
  }));
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, figures } of results) {
      // Whoever comes first in one round comes last in another.
      for (let turn = 0; turn < servers.length; turn++) {
        const server = servers[(turn + round) % servers.length]!;
        const figure = await measure(run, one, server.uri(image), folder);
        figures.get(server.name)!.push(figure);
        run.log(`round ${round + 1}/${rounds}  ${one.title}  ${server.name}  ${figure.toFixed(1)} ${one.unit}`);
      }
    }
  }
  return results;
}

async function measure(run: BenchRun, one: Case, uri: string, folder: string): Promise<number> {
  const { sizeBytes, seconds, pin } = run.options;
  const job = { ...one, uri, sizeBytes, seconds, warmUpSeconds: 1, latency: false };
  return figureOf(one, await runFio(job, { folder, signal: run.signal, pin }));
}
