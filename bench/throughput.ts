import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB } from '../src/base/units.js';
import { type Case, figureOf } from './cases.js';
import { runFio } from './fio.js';
import { makeImage } from './image.js';
import type { BenchOptions } from './options.js';
import { type Image, type ServerName, startServer } from './servers.js';
import { inTurn } from './statistics.js';

export interface BenchRun {
  readonly options: BenchOptions;
  readonly signal: AbortSignal;
  readonly log: (line: string) => void;
}

/** The figures of one case: one a round for each server, in the case's unit. */
export interface CaseResult {
  readonly case: Case;
  readonly figures: ReadonlyMap<ServerName, number[]>;
}

/**
 * Measures every case on every server, in turn, round by round. One file in `folder` is served by all of them, because
 * two copies can differ by a tenth in speed, depending on where in memory they are. Only one server runs at a time,
 * because tidemark and `before` would refuse a file that the other has locked.
 */
export async function measureThroughput(run: BenchRun, folder: string): Promise<CaseResult[]> {
  const { rounds, cases, servers, sizeBytes } = run.options;
  const image: Image = { path: join(folder, 'disk.img'), exportName: 'disk' };
  await makeImage(image.path, sizeBytes);
  const results = cases.map((one) => ({
    case: one,
    figures: new Map(servers.map((name): [ServerName, number[]] => [name, []])),
  }));
  for (let round = 0; round < rounds; round++) {
    for (const { case: one, figures } of results) {
      for (const name of inTurn(servers, round)) {
        const figure = await measure(run, one, name, image, folder);
        figures.get(name)!.push(figure);
        run.log(`round ${round + 1}/${rounds}  ${one.title}  ${name}  ${figure.toFixed(1)} ${one.unit}`);
      }
    }
  }
  return results;
}

/** Runs one case on a new server. The disk is overwritten first, so that no write makes a clean granule dirty. */
async function measure(run: BenchRun, one: Case, name: ServerName, image: Image, parent: string): Promise<number> {
  const { options, signal } = run;
  const { pin, seconds, sizeBytes } = options;
  const folder = await mkdtemp(join(parent, 'server-'));
  try {
    await using server = await startServer(name, { images: [image], folder, signal, pin, before: options.before });
    const job = { uri: server.uri(image), sizeBytes, latency: false };
    const environment = { folder, signal, pin };
    await runFio({ ...job, operation: 'write', blockBytes: 256 * KIB, depth: 8 }, environment);
    return figureOf(one, await runFio({ ...job, ...one, seconds, warmUpSeconds: 1 }, environment));
  } finally {
    await rm(folder, { recursive: true });
  }
}
