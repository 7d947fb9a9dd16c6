import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { measureBitmapCost } from './bitmap-cost.js';
import { measureColdReads } from './cold-reads.js';
import { measureCrashes } from './crash.js';
import { measureLargeStart } from './large-start.js';
import { type Part, parseOptions } from './options.js';
import { measurePull } from './pull.js';
import { formatReport } from './report.js';
import { type BenchRun, measureThroughput } from './throughput.js';
import { measureViewCost } from './view-cost.js';

const TMPFS = '/dev/shm';

const interrupted = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => interrupted.abort(new Error('interrupted')));

async function inScratchFolder<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(parent, 'tidemark-bench-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function bench(): Promise<void> {
  const options = parseOptions(process.argv);
  const run: BenchRun = { options, signal: interrupted.signal, log: (line) => console.log(line) };
  const startedAt = new Date();
  /** A part that fails is missing in the report. The figures of the others are kept. */
  const measured = async <T>(wanted: boolean, measure: () => Promise<T[]>): Promise<T[]> => {
    if (!wanted) return [];
    try {
      return await measure();
    } catch (error) {
      if (interrupted.signal.aborted) throw error;
      console.error(error);
      process.exitCode = 1;
      return [];
    }
  };
  const inMemory = <T>(wanted: boolean, measure: (folder: string) => Promise<T[]>) =>
    measured(wanted, () => inScratchFolder(TMPFS, measure));
  const onDisk = <T>(part: Part, measure: (folder: string) => Promise<T[]>) =>
    measured(options.parts.has(part), () => inScratchFolder(tmpdir(), measure));
  const inBoth = <T>(part: Part, measure: (disk: string, tmpfs: string) => Promise<T[]>) =>
    onDisk(part, (disk) => inScratchFolder(TMPFS, (tmpfs) => measure(disk, tmpfs)));

  const throughput = await inMemory(options.cases.length > 0, (folder) => measureThroughput(run, folder));
  const coldReads = await onDisk('cold', (folder) => measureColdReads(run, folder));
  const costs = await inBoth('cost', (disk, tmpfs) => measureBitmapCost(run, { tmpfs, disk }));
  const crashes = await onDisk('crash', (folder) => measureCrashes(run, folder));
  const starts = await inBoth('start', (disk, tmpfs) => measureLargeStart(run, disk, tmpfs));
  const views = await inBoth('view', (disk, tmpfs) => measureViewCost(run, tmpfs, disk));
  const pulls = await inMemory(options.parts.has('pull'), async (folder) => [await measurePull(run, folder)]);
  const minutes = (Date.now() - startedAt.getTime()) / 60_000;
  const report = formatReport(
    { throughput, coldReads, costs, crashes, starts, views, pulls, startedAt, minutes },
    options,
  );
  console.log(`\n${report}`);
  if (options.output) await writeFile(options.output, report);
}

try {
  await bench();
} catch (error) {
  console.error(interrupted.signal.aborted ? 'interrupted' : error);
  process.exitCode = 1;
}
