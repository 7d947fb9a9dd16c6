import { formatSize } from '../../src/base/units.js';
import type { ColdReadResult } from '../cold-reads.js';
import { paragraph, table } from '../markdown.js';
import type { BenchOptions } from '../options.js';
import { spread } from './cells.js';

export function coldReadsSection(results: readonly ColdReadResult[], { sizeBytes, seconds }: BenchOptions): string {
  const rows = results.map(({ neighbour, p50, p99, neighbourIops }) => [
    neighbour,
    ...[p50, p99].map((microseconds) => spread(microseconds)),
    neighbour === 'idle' ? '-' : spread(neighbourIops.map((iops) => iops / 1000)),
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
