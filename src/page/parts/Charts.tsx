import { formatLatency, formatRate } from '../format.js';
import type { Rates } from '../rates.js';
import { type ChartKind, LineChart } from './LineChart.js';

const throughput: ChartKind = {
  title: 'Throughput',
  lines: [
    { name: 'reading', colour: 'reading', of: ({ readBytes }) => readBytes },
    { name: 'writing', colour: 'writing', of: ({ writtenBytes }) => writtenBytes },
  ],
  format: formatRate,
  leastMaximum: 4096,
  // Steps that are round in KiB, MiB and so on.
  steps: Array.from({ length: 50 }, (_, power) => 2 ** power),
};

const latency: ChartKind = {
  title: 'Average latency',
  lines: [
    { name: 'reads', colour: 'reading', of: ({ readSeconds }) => readSeconds },
    { name: 'writes', colour: 'writing', of: ({ writeSeconds }) => writeSeconds },
  ],
  format: formatLatency,
  leastMaximum: 0.0001,
};

interface Props {
  readonly exportName: string;
  readonly points: readonly Rates[];
}

/** What clients did with a disk, and how long it took. */
export function Charts(props: Props) {
  return (
    <div class="charts">
      <LineChart kind={throughput} {...props} />
      <LineChart kind={latency} {...props} />
    </div>
  );
}
