import { formatSize } from '../src/base/units.js';
import type { ColdReadResult } from './cold-reads.js';
import { describeMachine } from './machine.js';
import type { BenchOptions } from './options.js';
import type { ServerName } from './servers.js';
import { type Summary, summarize } from './statistics.js';
import type { CaseResult } from './throughput.js';

export interface BenchResults {
  readonly throughput: readonly CaseResult[];
  readonly coldReads: readonly ColdReadResult[];
  readonly startedAt: Date;
  readonly minutes: number;
}

/** The report as Markdown, which reads well on a terminal too. */
export function formatReport(results: BenchResults, options: BenchOptions): string {
  const sections = [
    introduction(results, options),
    ...(results.throughput.length > 0 ? [throughputSection(results.throughput, options)] : []),
    ...(results.coldReads.length > 0 ? [coldReadsSection(results.coldReads, options)] : []),
  ];
  return `${sections.join('\n\n')}\n`;
}

function introduction({ startedAt, minutes }: BenchResults, { rounds, seconds, sizeBytes, pin }: BenchOptions): string {
  const given = `--rounds ${rounds} --seconds ${seconds} --size ${sizeBytes}${pin ? ' --pin' : ''}`;
  return [
    '# Benchmarks',
    `Written by \`npm run bench -- ${given}\` on ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC, in ${minutes.toFixed(0)} minutes.`,
    describeMachine()
      .map((fact) => `- ${fact}`)
      .join('\n'),
  ].join('\n\n');
}

function throughputSection(results: readonly CaseResult[], { rounds, seconds, sizeBytes, pin }: BenchOptions): string {
  const servers = [...results[0]!.figures.keys()];
  const rows = results.map((result) => [
    `${result.case.title} (${result.case.unit})`,
    ...servers.map((server) => spread(summarize(result.figures.get(server)!))),
    ...ratioCells(result),
  ]);
  return [
    '## Against other servers',
    `Each server serves its own copy of one ${formatSize(sizeBytes)} file in tmpfs over a unix socket to fio's nbd engine, one
connection. ${rounds} rounds; in each, every case runs on one server after the other for ${seconds} s after 1 s of warm-up, and
who is first changes from round to round. ${pin ? 'The servers are on one core and fio is on the other.' : 'Nothing is pinned to a core: some servers use several threads.'} tidemark records in two
bitmaps; qemu-nbd uses io_uring. Cells: the median, and the least and the most, of the rounds. The ratio is that of the
medians, tidemark to the best of the others.`,
    table(['', ...servers, 'ratio', 'goal'], rows),
  ].join('\n\n');
}

function ratioCells({ case: { goal }, figures }: CaseResult): string[] {
  const medianOf = (server: ServerName) => summarize(figures.get(server)!).median;
  const peers = [...figures.keys()].filter((server) => server !== 'tidemark');
  if (!figures.has('tidemark') || peers.length === 0) return ['-', String(goal)];
  const best = peers.reduce((a, b) => (medianOf(b) > medianOf(a) ? b : a));
  return [`**${(medianOf('tidemark') / medianOf(best)).toFixed(2)}** of ${best}`, String(goal)];
}

function coldReadsSection(results: readonly ColdReadResult[], { sizeBytes, seconds }: BenchOptions): string {
  const rows = results.map(({ neighbour, p50, p99, neighbourIops }) => [
    neighbour,
    ...[p50, p99].map((microseconds) => spread(summarize(microseconds))),
    neighbour === 'idle' ? '-' : spread(summarize(neighbourIops.map((iops) => iops / 1000))),
  ]);
  return [
    '## Nobody waits for the disk of another',
    `One tidemark with two exports, ${formatSize(sizeBytes)} files on a disk. The first is in the page cache and is read in pieces of 4 KiB,
depth 1, for ${seconds} s; meanwhile another client reads the other export, 4 KiB at random, depth 8. "Cold" is after the file was
dropped from the page cache. Latencies are those of the reads of the first export. A busy neighbour costs processor time,
cached or cold; a server that waited for the disk would show the disk's latency in the last line.`,
    table(['the other export', 'p50 (µs)', 'p99 (µs)', 'its reads (kIOPS)'], rows),
  ].join('\n\n');
}

function spread({ median, min, max }: Summary): string {
  return `${short(median)} (${short(min)}–${short(max)})`;
}

function short(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map(() => '---')), ...rows.map(line)].join('\n');
}
