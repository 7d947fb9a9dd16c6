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

interface Contestant {
  readonly server: RunningServer;
  readonly image: Image;
}

/** Measures the cases on every server, each on a copy of one file in `folder`, all in turn, round by round. */
export async function measureThroughput(run: BenchRun, folder: string): Promise<CaseResult[]> {
  const contestants: Contestant[] = [];
  try {
    for (const name of run.options.servers) {
      contestants.push(await enter(run, name, join(folder, name)));
    }
    return await measureRounds(run, contestants, folder);
  } finally {
    for (const { server } of contestants) await server[Symbol.asyncDispose]();
  }
}

async function enter({ options, signal }: BenchRun, name: ServerName, folder: string): Promise<Contestant> {
  await mkdir(folder);
  const image: Image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await makeImage(image.path, options.sizeBytes);
  const server = await startServer(name, { images: [image], folder, signal, pin: options.pin });
  return { server, image };
}

async function measureRounds(run: BenchRun, contestants: readonly Contestant[], folder: string): Promise<CaseResult[]> {
  const { rounds, cases } = run.options;
  const results = cases.map((one) => ({
    case: one,
    figures: new Map(contestants.map(({ server }): [ServerName, number[]] => [server.name, []])),
  }));
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, figures } of results) {
      // Whoever comes first in one round comes last in another.
      for (let turn = 0; turn < contestants.length; turn++) {
        const contestant = contestants[(turn + round) % contestants.length]!;
        const figure = await measure(run, one, contestant, folder);
        figures.get(contestant.server.name)!.push(figure);
        run.log(
          `round ${round + 1}/${rounds}  ${one.title}  ${contestant.server.name}  ${figure.toFixed(1)} ${one.unit}`,
        );
      }
    }
  }
  return results;
}

async function measure(run: BenchRun, one: Case, { server, image }: Contestant, folder: string): Promise<number> {
  const { sizeBytes, seconds, pin } = run.options;
  const job = { ...one, uri: server.uri(image), sizeBytes, seconds, warmUpSeconds: 1, latency: false };
  return figureOf(one, await runFio(job, { folder, signal: run.signal, pin }));
}
