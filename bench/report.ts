import { dirname } from 'node:path';
import { formatCount, formatSize, KIB, MIB } from '../src/base/units.js';
import type { CostResult } from './bitmap-cost.js';
import type { ColdReadResult } from './cold-reads.js';
import type { CrashResult } from './crash.js';
import { BITMAPS, DISK_BYTES, type StartResult } from './large-start.js';
import { describeCheckout, describeMachine } from './machine.js';
import { paragraph, table } from './markdown.js';
import type { BenchOptions } from './options.js';
import type { PullResults } from './pull.js';
import type { PullFigures } from './pull-tools.js';
import { bitmapModes, type ServerName } from './servers.js';
import { pairedRatio, type Summary, summarize } from './statistics.js';
import type { CaseResult } from './throughput.js';
import type { ViewResult } from './view-cost.js';

export interface BenchResults {
  readonly throughput: readonly CaseResult[];
  readonly coldReads: readonly ColdReadResult[];
  readonly costs: readonly CostResult[];
  readonly crashes: readonly CrashResult[];
  readonly starts: readonly StartResult[];
  readonly views: readonly ViewResult[];
  readonly pulls: readonly PullResults[];
  readonly startedAt: Date;
  readonly minutes: number;
}

/** The report as Markdown, which reads well on a terminal too. */
export function formatReport(results: BenchResults, options: BenchOptions): string {
  const sections = [
    introduction(results, options),
    ...(results.throughput.length > 0 ? [throughputSection(results.throughput, options)] : []),
    ...(results.coldReads.length > 0 ? [coldReadsSection(results.coldReads, options)] : []),
    ...(results.costs.length > 0 ? [costSection(results.costs, options)] : []),
    ...(results.crashes.length > 0 ? [crashSection(results.crashes)] : []),
    ...(results.starts.length > 0 ? [startSection(results.starts)] : []),
    ...results.views.map(viewSection),
    ...results.pulls.map(pullSection),
  ];
  return `${sections.join('\n\n')}\n`;
}

function introduction(
  { startedAt, minutes }: BenchResults,
  { rounds, seconds, sizeBytes, pin, only, before }: BenchOptions,
): string {
  const measured = only.length > 0 ? `--only ${only.join(' ')} ` : '';
  const beside = before === undefined ? '' : `--beside ${checkoutOf(before)} `;
  const given = `${measured}${beside}--rounds ${rounds} --seconds ${seconds} --size ${sizeBytes}${pin ? ' --pin' : ''}`;
  const facts = describeMachine();
  if (before !== undefined) facts.push(`before: tidemark ${describeCheckout(checkoutOf(before))}`);
  return [
    '# Benchmarks',
    paragraph(`Written by \`npm run bench -- ${given}\` on ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC,
in ${formatCount(Math.round(minutes), 'minute')}.`),
    facts.map((fact) => `- ${fact}`).join('\n'),
  ].join('\n\n');
}

function checkoutOf(main: string): string {
  return dirname(dirname(main));
}

const WITH_BEFORE = `"before" is the other build of tidemark. For tidemark/before, the figures of both builds in the same
round are compared: the median of these ratios; in brackets, the 95 % confidence interval (with fewer than six rounds,
the lowest and the highest ratio). If 1 is within the brackets, no difference was found.`;

function throughputSection(results: readonly CaseResult[], options: BenchOptions): string {
  const { rounds, seconds, sizeBytes, pin } = options;
  const servers = [...results[0]!.figures.keys()];
  const isCompared = servers.includes('tidemark') && servers.includes('before');
  const rows = results.map((result) => [
    `${result.case.title} (${result.case.unit})`,
    ...servers.map((server) => spread(summarize(result.figures.get(server)!))),
    ...(isCompared ? [certain(result.figures.get('tidemark')!, result.figures.get('before')!)] : []),
    ...ratioCells(result),
  ]);
  return [
    '## Against other servers',
    paragraph(`All servers serve one ${formatSize(sizeBytes)} file in tmpfs over a unix socket to fio's nbd engine, one
connection. In ${formatCount(rounds, 'round')}, every case runs on one server after the other, and each time the
server is started for it. First the whole disk is written once, then the case runs for ${seconds} s after 1 s of
warm-up. The order of the servers changes from round to round.
${pin ? 'The servers are on one core and fio is on the other.' : 'Nothing is pinned to a core, and some servers use several threads.'}
tidemark records in two bitmaps; qemu-nbd uses io_uring. The cells show the median of the rounds, with minimum and
maximum in brackets. The ratio compares the medians: tidemark to the best of the others.`),
    ...(isCompared ? [paragraph(WITH_BEFORE)] : []),
    table(['', ...servers, ...(isCompared ? ['tidemark/before'] : []), 'ratio', 'goal'], rows),
  ].join('\n\n');
}

function ratioCells({ case: { goal }, figures }: CaseResult): string[] {
  const medianOf = (server: ServerName) => summarize(figures.get(server)!).median;
  const peers = [...figures.keys()].filter((server) => server !== 'tidemark' && server !== 'before');
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
    '## One disk does not hold up another',
    paragraph(`One tidemark serves two files of ${formatSize(sizeBytes)} on a disk. The first one is in the page cache. It is read in
pieces of 4 KiB, depth 1, for ${seconds} s, while another client reads the other one, 4 KiB at random, depth 8. "Cold" means
that the other file was dropped from the page cache first. The latencies are those of the first file. A busy neighbour
costs processor time, cached or cold; a server that waited for the disk would show the disk's latency in the last line.`),
    table(['the other export', 'p50 (µs)', 'p99 (µs)', 'its reads (kIOPS)'], rows),
  ].join('\n\n');
}

function costSection(results: readonly CostResult[], { seconds }: BenchOptions): string {
  const rows = results.map(({ place, step, figures }) => [
    place,
    `${step.title} (${step.unit})`,
    ...bitmapModes.map((mode) => spread(summarize(figures.get(mode)!))),
    certain(figures.get('persistent')!, figures.get('off')!),
    String(step.goal),
  ]);
  return [
    '## What bitmaps cost',
    paragraph(`One tidemark serves a disk of 4 GiB. Both the disk and the state are in tmpfs, or both are on the disk. The steps run
${results[0]!.figures.get('off')!.length} times with two bitmaps in the store, with two in memory only, and with none, each time on a freshly
started server. A first pass begins with clean bitmaps; every other step runs for ${seconds} s after 1 s of warm-up. The
ratio compares bitmaps in the store to none. It is the median of the ratios of consecutive runs, because the speed of
the machine varies over time; in brackets, the 95 % confidence interval.`),
    table(['', '', ...bitmapModes, 'ratio', 'goal'], rows),
  ].join('\n\n');
}

function crashSection(results: readonly CrashResult[]): string {
  const rows = results.map(({ title, trueBytes, reportedBytes }) => [
    title,
    formatSize(trueBytes),
    formatSize(reportedBytes),
    `${((100 * reportedBytes) / trueBytes - 100).toFixed(1)} %`,
  ]);
  return [
    '## What a crash adds',
    paragraph(`A new disk of 4 GiB is written for 10 s, then the server is killed and started again. Everything that was written is
dirty. How much more is dirty depends on how many regions of 16 MiB were written in the last seconds.`),
    table(['under way', 'written (in granules)', 'dirty after the crash', 'more'], rows),
  ].join('\n\n');
}

function startSection(results: readonly StartResult[]): string {
  const mebibytes = (values: readonly number[]) => spread(summarize(values.map((bytes) => bytes / MIB)));
  const rows = results.map(({ cached, greetingMilliseconds, commandMilliseconds, ownBytes, residentBytes }) => [
    cached ? 'in the page cache' : 'on the disk',
    spread(summarize(greetingMilliseconds)),
    spread(summarize(commandMilliseconds)),
    mebibytes(ownBytes),
    mebibytes(residentBytes),
  ]);
  return [
    '## Starting with large bitmaps',
    paragraph(`A disk of ${formatSize(DISK_BYTES)} with ${BITMAPS} bitmaps at 64 KiB, every other granule dirty:
${formatSize((BITMAPS * DISK_BYTES) / (64 * KIB) / 8)} of bits. The times are from the start of the program until it greets a client, and until it also takes
commands. The memory is measured then: its own, and its own together with the part of the store's file that it has
mapped, which the kernel takes back when it needs it.`),
    table(['the store is', 'serves (ms)', 'takes commands (ms)', 'own memory (MiB)', 'with mapped files (MiB)'], rows),
  ].join('\n\n');
}

function viewSection({ noView, view, pauses, sparse }: ViewResult): string {
  const ratio = (one: readonly number[], other: readonly number[]) => summarize(one).median / summarize(other).median;
  const writes = (['firstPass', 'afterwards'] as const).map((pass) => [
    pass === 'firstPass' ? 'first pass: each write copies a granule' : 'afterwards: everything is copied already',
    spread(summarize(noView[pass])),
    spread(summarize(view[pass])),
    `**${ratio(view[pass], noView[pass]).toFixed(2)}**`,
  ]);
  const waits = pauses.map(({ exports, p99Milliseconds, maxMilliseconds, bytesPerView }) => [
    String(exports),
    spread(summarize(p99Milliseconds)),
    spread(summarize(maxMilliseconds)),
    (bytesPerView / KIB).toFixed(0),
  ]);
  return [
    '## What a view costs',
    paragraph(`Random writes of 4 KiB, depth 32, to a disk of 1 GiB in tmpfs that is all dirty already, with and without the view of a
backup open (kIOPS). The scratch is in tmpfs too.`),
    table(['', 'no view', 'a view', 'ratio'], writes),
    paragraph(`How long writes waited while a backup of some exports began (ms, 20 times, with writes to up to 4 of the exports), and
the memory that one view of 32 MiB took.`),
    table(['exports', 'p99 of the writes held', 'longest', 'memory (KiB a view)'], waits),
    paragraph(`A sparse disk of 100 GiB with 1 GiB dirty: the begin took ${spread(summarize(sparse.beginMilliseconds))} ms, and the
first extents came ${spread(summarize(sparse.firstExtentsMilliseconds))} ms later.`),
  ].join('\n\n');
}

function pullSection({ full, increment }: PullResults): string {
  const { sizeBytes, dataBytes, changedBytes } = increment;
  return [
    '## Pulling backups',
    paragraph(`A full backup of a disk of ${formatSize(full.sizeBytes)} without holes, from one tidemark, from tmpfs to tmpfs. The times are those of
whole programs. What tidemark writes is durable and checked at the end. Without \`--over-nbd\` it reads the disk itself, and
reads over NBD only what is overwritten meanwhile.`),
    pullTable(full.figures),
    paragraph(`The changes, ${formatSize(changedBytes)} in granules at random, on a disk of ${formatSize(sizeBytes)} with ${formatSize(dataBytes)} of data.
QEMU's tools read a qcow2 image with a persistent bitmap from qemu-nbd: qemu-img map shows what is dirty, and qemu-io
reads that through an overlay that copies on read.`),
    pullTable(increment.figures),
  ].join('\n\n');
}

function pullTable(figures: readonly PullFigures[]): string {
  const rows = figures.map(({ title, seconds, readBytes, writtenBytes }) => [
    title,
    spread(summarize(seconds)),
    readBytes === undefined ? '-' : formatSize(readBytes),
    formatSize(writtenBytes),
  ]);
  return table(['', 'time (s)', 'read', 'written'], rows);
}

function spread({ median, min, max }: Summary): string {
  return `${short(median)} (${short(min)}–${short(max)})`;
}

/** The paired ratio with its confidence interval. */
function certain(figures: readonly number[], others: readonly number[]): string {
  const { median, from, to } = pairedRatio(figures, others);
  return `**${median.toFixed(2)}** (${from.toFixed(2)}–${to.toFixed(2)})`;
}

function short(value: number): string {
  return value.toFixed(value < 100 ? 1 : 0);
}
