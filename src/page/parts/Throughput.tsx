import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import { formatRate } from '../format.js';
import type { Rates } from '../rates.js';
import { colour, useColourChanges } from './colours.js';
import { useWidth } from './use-width.js';

const HEIGHT = 160;
const SHOWN_SECONDS = 300;
/** The least that the axis reaches to, in bytes each second. */
const LEAST_MAXIMUM = 4096;

interface Props {
  readonly exportName: string;
  readonly points: readonly Rates[];
}

/** What clients read and wrote in the last five minutes. */
export function Throughput({ exportName, points }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const width = useWidth(place);
  const colours = useColourChanges();

  useEffect(() => {
    const made = new uPlot(optionsOf(), dataOf([]), place.current!);
    chart.current = made;
    return () => made.destroy();
  }, []);
  useEffect(() => {
    if (width > 0) chart.current?.setSize({ width, height: HEIGHT });
  }, [width]);
  // Drawn again when the colours change, too.
  useEffect(() => chart.current?.setData(dataOf(points)), [points, colours]);

  const last = points.at(-1);
  const now = `reading ${formatRate(last?.readBytes ?? 0)}, writing ${formatRate(last?.writtenBytes ?? 0)}`;
  return (
    <figure>
      <div ref={place} class="chart" role="img" aria-label={`Throughput of ${exportName}: ${now}`} />
      <figcaption>
        <span class="swatch reading" /> reading <span class="swatch writing" /> writing, in the last 5 minutes
      </figcaption>
    </figure>
  );
}

function dataOf(points: readonly Rates[]): uPlot.AlignedData {
  return [
    points.map(({ at }) => at),
    points.map(({ readBytes }) => readBytes),
    points.map(({ writtenBytes }) => writtenBytes),
  ];
}

function optionsOf(): uPlot.Options {
  const axis = {
    stroke: () => colour('quiet'),
    grid: { stroke: () => colour('line'), width: 1 },
    ticks: { stroke: () => colour('line'), width: 1 },
  };
  return {
    width: 300,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    scales: {
      x: { time: true, range: () => [Date.now() / 1000 - SHOWN_SECONDS, Date.now() / 1000] },
      y: { range: (_chart, _least, most) => [0, Math.max(1.1 * (most ?? 0), LEAST_MAXIMUM)] },
    },
    axes: [
      axis,
      {
        ...axis,
        size: 80,
        // Steps that are round in KiB, MiB and so on.
        incrs: Array.from({ length: 50 }, (_, power) => 2 ** power),
        values: (_chart, ticks) => ticks.map((tick) => formatRate(tick)),
      },
    ],
    series: [
      {},
      { stroke: () => colour('reading'), width: 2, points: { show: false } },
      { stroke: () => colour('writing'), width: 2, points: { show: false } },
    ],
  };
}
