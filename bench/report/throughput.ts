import { cpus } from 'node:os';
import { formatCount, formatSize } from '../../src/base/units.js';
import type { CasePartName } from '../cases.js';
import { SUITE } from '../credentials.js';
import { paragraph } from '../markdown.js';
import type { BenchOptions } from '../options.js';
import { type CaseResult, DEPTH_1_WARM_UP_SECONDS, type Measured, WARM_UP_SECONDS } from '../throughput.js';
import { type ComparedLine, comparisonTable } from './comparison.js';
import type { Goals } from './goals.js';

const titles: Readonly<Record<CasePartName, string>> = {
  single: 'One connection',
  connections: 'Several connections to one export',
  exports: 'Several exports',
  tls: 'TLS',
};

/** The tables of one part. `results` is not empty. */
export function throughputSection(
  part: CasePartName,
  results: readonly CaseResult[],
  options: BenchOptions,
  goals: Goals,
): string {
  const speeds = results.map((result) => lineOf(result, `${result.case.title} (${result.case.unit})`, 'speed'));
  const timed = results.filter((result) => result.case.latency);
  return [
    `## ${titles[part]}`,
    paragraph(introductions[part](options)),
    ...(part === 'single' ? [paragraph(howMeasured(options))] : []),
    ...(options.servers.includes('before') && options.servers.includes('tidemark') ? [paragraph(WITH_BEFORE)] : []),
    comparisonTable(speeds, goals),
    ...(timed.length > 0 ? [paragraph(LATENCY), comparisonTable(timed.flatMap(latencyLines), goals)] : []),
    paragraph(PROCESSOR_TIME),
    comparisonTable(results.map(processorLine), goals),
  ].join('\n\n');
}

const introductions: Readonly<Record<CasePartName, (options: BenchOptions) => string>> = {
  single: ({ sizeBytes, pin }) => `All servers serve one file of ${formatSize(sizeBytes)} in tmpfs over a unix socket to
fio's nbd engine. tidemark records in two bitmaps in its store; qemu-nbd uses io_uring.
${pin ? 'The servers are on one core and fio is on the other.' : 'Nothing is pinned to a core, and some servers use several threads.'}`,

  connections: ({ sizeBytes }) => `The same, with several connections to the export of ${formatSize(sizeBytes)}. Each of
them is a process of fio. Random requests go to the whole disk; sequential ones of each connection go to a piece of their
own. ${NOT_PINNED} nbdkit has 16 threads for each connection, nbd-server has a process for each, and qemu-nbd takes any
number of clients. The figures are the sums of all connections.`,

  exports: ({
    sizeBytes,
  }) => `The same, with four exports that have ${formatSize(sizeBytes)} together, and one connection
to each. One tidemark serves all four. Of every other server there are four processes, one for each export.
${NOT_PINNED}`,

  tls: ({ sizeBytes }) => `The same export of ${formatSize(sizeBytes)}, over TLS 1.3 with certificates on both sides.
GnuTLS in fio is configured to offer ${SUITE} alone, so every server encrypts in the same way. ${NOT_PINNED}`,
};

const NOT_PINNED = `The servers and fio share all ${formatCount(cpus().length, 'core')}; nothing is pinned.`;

function howMeasured({ rounds, seconds }: BenchOptions): string {
  return `In ${formatCount(rounds, 'round')}, every case runs on one server after the other, and each time the server is
started for it. Before a case that writes, the whole disk is written once. Then the case runs for ${WARM_UP_SECONDS} s to
warm up (${DEPTH_1_WARM_UP_SECONDS} s at depth 1), and for ${seconds} s to be measured. The order of the servers changes from round to round. The cells show the
median of the rounds, with minimum and maximum in brackets. The ratio compares tidemark to the server with which it
compares worst: it is the median of the ratios of the figures of one round, because the speed of the machine varies over
time. In brackets is its 95 % confidence interval (with fewer than six rounds, the lowest and the highest ratio).`;
}

const WITH_BEFORE = `"before" is the other build of tidemark. tidemark/before compares both builds in the same way. If 1
is within the brackets, no difference was found.`;

const LATENCY = `The latencies of the requests at depth 1, from the same runs. Less is better, so the ratio is that to the
lowest of the others.`;

const PROCESSOR_TIME = `The processor time of the server for each request: user and system time of all of its processes and
threads, in microseconds. Less is better.`;

function lineOf(result: CaseResult, title: string, figure: 'speed' | 'processorMicroseconds'): ComparedLine {
  return {
    title,
    figures: figuresOf(result, (measured) => measured[figure]),
    ...(figure === 'speed'
      ? { better: 'more', goal: result.case.goal }
      : { better: 'less', goal: result.case.processorGoal }),
  };
}

function processorLine(result: CaseResult): ComparedLine {
  return lineOf(result, `${result.case.title} (µs)`, 'processorMicroseconds');
}

function latencyLines(result: CaseResult): ComparedLine[] {
  return (['p50', 'p99'] as const).map((percentile) => ({
    title: `${result.case.title}, ${percentile} (µs)`,
    figures: figuresOf(result, ({ latencyMicroseconds }) => latencyMicroseconds![percentile]),
    better: 'less',
  }));
}

function figuresOf({ measured }: CaseResult, figure: (measured: Measured) => number): ComparedLine['figures'] {
  return new Map([...measured].map(([server, all]) => [server, all.map(figure)]));
}
