import { formatSize, formatTable } from '../command-line.js';
import { formatSeconds } from './latency.js';
import type { Subject, TopRow } from './rates.js';

export const sortings = ['ops', 'bytes', 'latency', 'name'] as const;
export type Sorting = (typeof sortings)[number];

const bytesOf = ({ readBytesPerSecond, writtenBytesPerSecond }: TopRow) => readBytesPerSecond + writtenBytesPerSecond;
const measures: Record<Sorting, (row: TopRow) => number> = {
  ops: ({ requestsPerSecond }) => requestsPerSecond,
  bytes: bytesOf,
  latency: ({ p99Seconds, meanSeconds }) => p99Seconds ?? meanSeconds ?? 0,
  name: () => 0,
};

/** The largest first; rows that are equal by their names. */
export function sortRows(rows: readonly TopRow[], sorting: Sorting): TopRow[] {
  const measure = measures[sorting];
  return [...rows].sort(
    (a, b) => measure(b) - measure(a) || (a.name < b.name ? -1 : a.name > b.name ? 1 : (a.id ?? 0) - (b.id ?? 0)),
  );
}

export function topTable(rows: readonly TopRow[], by: Subject): string {
  const ofRates = ['OPS/S', 'READ/S', 'WRITTEN/S', 'MEAN', 'P50', 'P99', 'DEPTH', 'FAILED/S'];
  const labels = by === 'export' ? ['EXPORT', 'CLIENTS'] : ['EXPORT', 'ID', 'ADDRESS'];
  const numbers = ofRates.map((_, index) => labels.length + index);
  const cells = rows.map((row) => [...labelsOf(row, by), ...rateCells(row)]);
  return formatTable([...labels, ...ofRates], cells, [1, ...numbers]);
}

function labelsOf({ name, connections, id, client }: TopRow, by: Subject): string[] {
  return by === 'export' ? [name, String(connections)] : [name, String(id), String(client)];
}

function rateCells(row: TopRow): string[] {
  return [
    formatNumber(row.requestsPerSecond),
    formatSize(Math.round(row.readBytesPerSecond)),
    formatSize(Math.round(row.writtenBytesPerSecond)),
    ...[row.meanSeconds, row.p50Seconds, row.p99Seconds].map((seconds) => formatSeconds(seconds ?? undefined)),
    formatNumber(row.queueDepth),
    formatNumber(row.failedPerSecond),
  ];
}

function formatNumber(value: number): string {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(1);
}
