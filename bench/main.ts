import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatCount } from '../src/base/units.js';
import { type BenchOptions, type PartName, parseOptions } from './options.js';
import type { Places, Section } from './part.js';
import { parts } from './parts.js';
import { formatReport } from './report.js';
import type { BenchRun } from './throughput.js';

const TMPFS = '/dev/shm';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('interrupted')));

async function inScratchFolders<T>(work: (places: Places) => Promise<T>): Promise<T> {
  const folderIn = (parent: string) => mkdtemp(join(parent, 'tidemark-bench-'));
  const places = { tmpfs: await folderIn(TMPFS), disk: await folderIn(tmpdir()) };
  try {
    return await work(places);
  } finally {
    for (const folder of Object.values(places)) await rm(folder, { recursive: true });
  }
}

/** Resolves to nothing if the part fails. The figures of the others are kept, and the report says what is missing. */
async function measure(name: PartName, run: BenchRun): Promise<Section | undefined> {
  try {
    return await inScratchFolders((places) => parts[name].measure(run, places));
  } catch (error) {
    if (run.signal.aborted) throw error;
    console.error(error);
    process.exitCode = 1;
    return undefined;
  }
}

function describePlan(options: BenchOptions): string {
  const estimates = options.parts.map((name) => ({ name, minutes: parts[name].seconds(options) / 60 }));
  const total = estimates.reduce((sum, { minutes }) => sum + minutes, 0);
  const each = estimates.map(({ name, minutes }) => `${name} ${minutes.toFixed(1)}`).join(', ');
  return `About ${formatCount(Math.ceil(total), 'minute')}, on two cores: ${each}.`;
}

async function bench(): Promise<void> {
  const options = parseOptions(process.argv);
  const run: BenchRun = { options, signal: interrupted.signal, log: (line) => console.log(line) };
  run.log(describePlan(options));
  const startedAt = new Date();
  const sections: Section[] = [];
  const failed: PartName[] = [];
  for (const name of options.parts) {
    const section = await measure(name, run);
    if (section) sections.push(section);
    else failed.push(name);
  }
  const minutes = (Date.now() - startedAt.getTime()) / 60_000;
  const report = formatReport(sections, options, { startedAt, minutes, failed });
  console.log(`\n${report}`);
  if (options.output) await writeFile(options.output, report);
}

try {
  await bench();
} catch (error) {
  console.error(interrupted.signal.aborted ? 'interrupted' : error);
  process.exitCode = 1;
}
