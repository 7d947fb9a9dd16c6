import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { KIB } from '../src/base/units.js';
import { Program } from './program.js';
import { controlIn, tidemark } from './servers.js';
import type { BenchRun } from './throughput.js';

/** One way to take a backup, measured once a round. */
export interface PullFigures {
  readonly title: string;
  readonly seconds: number[];
  /** Over NBD; undefined if the tool does not say. */
  readonly readBytes: number | undefined;
  /** To the file of the backup. */
  readonly writtenBytes: number;
}

/** Where `pullWith` puts its backups. */
export function backupsIn(folder: string): string {
  return join(folder, 'backups');
}

/** Runs `tidemark pull` against the server in that folder. Its time is that of the whole program. */
export async function pullWith(
  { signal }: BenchRun,
  folder: string,
  exportName: string,
  ...args: string[]
): Promise<{ seconds: number; readBytes: number; fileBytes: number; path: string }> {
  const places = ['--to', backupsIn(folder), '--control', controlIn(folder)];
  const started = performance.now();
  await using program = new Program(
    [process.execPath, tidemark, 'pull', exportName, '--bitmap', 'nightly', '--json', ...places, ...args],
    signal,
  );
  const output = await program.finished();
  const seconds = (performance.now() - started) / 1000;
  // Before the document it says on stderr why a backup is full.
  const [image] = JSON.parse(output.slice(output.indexOf('{'))).images;
  return { seconds, ...image };
}

/** Runs a program. Resolves to its duration in seconds. */
export async function timed({ signal }: BenchRun, program: string, ...args: string[]): Promise<number> {
  const started = performance.now();
  await using running = new Program([program, ...args], signal);
  await running.finished();
  return (performance.now() - started) / 1000;
}

export async function allocatedBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * 512;
}

/** The granularity of the bitmap, and of qcow2 images. */
export const GRANULE_BYTES = 64 * KIB;
