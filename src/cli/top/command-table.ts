import type { CommandStatistics, Statistics } from '../../api/statistics.js';
import { formatSize, formatTable } from '../command-line.js';
import { formatSeconds, percentile, upperBound } from './latency.js';

const commandNames = ['read', 'write', 'zero', 'trim', 'flush', 'cache', 'status', 'other'] as const;

/** What clients have done with one disk, a row for each command that they used. Empty if they used none. */
export function commandTable({ commands }: Statistics): string {
  const rows = commandNames.flatMap((name) => {
    const statistics = commands[name];
    return statistics ? [[name, ...cells(statistics)]] : [];
  });
  if (rows.length === 0) return '';
  const headings = ['COMMAND', 'REQUESTS', 'BYTES', 'FAILED', 'INVALID', 'MEAN', 'P50', 'P99', 'MAX <='];
  return formatTable(headings, rows, [1, 2, 3, 4, 5, 6, 7, 8]);
}

function cells({ operations, bytes, failed, invalid, seconds, latency }: CommandStatistics): string[] {
  const timed = operations + failed;
  return [
    String(operations),
    formatSize(bytes),
    String(failed),
    String(invalid),
    formatSeconds(timed > 0 ? seconds / timed : undefined),
    formatSeconds(latency && percentile(latency, 0.5)),
    formatSeconds(latency && percentile(latency, 0.99)),
    formatBound(latency && upperBound(latency)),
  ];
}

function formatBound(seconds: number | undefined): string {
  return seconds === Number.POSITIVE_INFINITY ? 'longer' : formatSeconds(seconds);
}
