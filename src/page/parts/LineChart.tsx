import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import type { Rates } from '../rates.js';
import { colour, useColourChanges } from './colours.js';
import { useWidth } from './use-width.js';

const HEIGHT = 160;
const SHOWN_SECONDS = 300;

/** What a chart shows. It has to stay the same. */
export interface ChartKind {
  readonly title: string;
  readonly lines: readonly {
    readonly name: string;
    /** A colour of `style.css`. */
    readonly colour: string;
    readonly of: (rates: Rates) => number | null;
  }[];
  readonly format: (value: number) => string;
  /** What the axis reaches to at least. */
  readonly leastMaximum: number;
  /** The steps that the axis may have; round decimal ones if they are missing. */
  readonly steps?: number[];
}

interface Props {
  readonly kind: ChartKind;
  readonly exportName: string;
  readonly points: readonly Rates[];
}

/** Lines over the last five minutes. */
export function LineChart({ kind, exportName, points }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot | null>(null);
  const width = useWidth(place);
  const colours = useColourChanges();

  useEffect(() => {
    const made = new uPlot(optionsOf(kind), dataOf(kind, []), place.current!);
    chart.current = made;
    return () => made.destroy();
  }, [kind]);
  useEffect(() => {
    if (width > 0) chart.current?.setSize({ width, height: HEIGHT });
  }, [width]);
  // Drawn again when the colours change, too.
  useEffect(() => chart.current?.setData(dataOf(kind, points)), [kind, points, colours]);

  const last = points.at(-1);
  const now = kind.lines.map(({ name, of }) => {
    const value = last ? of(last) : null;
    return `${name} ${value === null ? 'nothing' : kind.format(value)}`;
  });
  return (
    <figure>
      <div ref={place} class="chart" role="img" aria-label={`${kind.title} of ${exportName}: ${now.join(', ')}`} />
      <figcaption>
        {kind.title} in the last 5 minutes:{' '}
        {kind.lines.map((line) => (
          <span key={line.name}>
            <span class={`swatch ${line.colour}`} /> {line.name}{' '}
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function dataOf({ lines }: ChartKind, points: readonly Rates[]): uPlot.AlignedData {
  return [points.map(({ at }) => at), ...lines.map(({ of }) => points.map(of))];
}

function optionsOf({ lines, format, leastMaximum, steps }: ChartKind): uPlot.Options {
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
      y: { range: (_chart, _least, most) => [0, Math.max(1.1 * (most ?? 0), leastMaximum)] },
    },
    axes: [axis, { ...axis, size: 80, values: (_chart, ticks) => ticks.map(format), ...(steps && { incrs: steps }) }],
    series: [{}, ...lines.map((line) => ({ stroke: () => colour(line.colour), width: 2 }))],
  };
}
