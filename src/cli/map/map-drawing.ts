import { styleText } from 'node:util';
import { printable } from '../../base/printable.js';
import { formatCount, formatExactSize, formatSize } from '../../base/units.js';
import { contextKind } from '../../client/context-kind.js';
import { LABEL_COLUMNS, type MapLayout } from './map-layout.js';
import type { ContextSurvey } from './map-survey.js';

export interface MapPicture {
  readonly exportName: string;
  readonly layout: MapLayout;
  readonly contexts: readonly ContextSurvey[];
}

/** A slice is drawn solid only if all of it is marked, and as a dot only if none of it is. */
const NONE = '·';
const SOME = ['░', '▒', '▓'] as const;
const ALL = '█';
const LEGEND = `${NONE} none  ${SOME[0]} little  ${SOME[1]} half  ${SOME[2]} most  ${ALL} all of the slice`;

type Style = Parameters<typeof styleText>[0];
/** Styles text, or returns it unchanged if colours are off. */
type Paint = (style: Style, text: string) => string;

const colourByMark: Record<string, Style> = { dirty: 'yellow', allocated: 'cyan' };

/** Draws a title, the totals and rows of each context, and the legend. The result has no final newline. */
export function drawMap({ exportName, layout, contexts }: MapPicture, colours: boolean): string {
  const paint: Paint = (style, text) => (colours ? styleText(style, text, { validateStream: false }) : text);
  const title = `${printable(exportName) || 'default export'}: ${formatSize(layout.sizeBytes)}, one character is ${formatSize(layout.sliceBytes)}`;
  const groups = contexts.map((context) => drawContext(context, layout, paint));
  return [title, ...groups, `${' '.repeat(LABEL_COLUMNS)}${LEGEND}`].join('\n\n');
}

function drawContext(survey: ContextSurvey, layout: MapLayout, paint: Paint): string {
  const { mark } = contextKind(survey.name);
  const colour = colourByMark[mark] ?? 'green';
  const rows: string[] = [];
  for (let first = 0; first < layout.sliceCount; first += layout.columns) {
    const slices = [...survey.markedBytes.subarray(first, first + layout.columns)];
    const characters = slices.map((markedBytes, index) =>
      sliceCharacter(markedBytes, sliceLength(layout, first + index)),
    );
    const label = formatExactSize(first * layout.sliceBytes).padStart(LABEL_COLUMNS - 2);
    rows.push(`${paint('dim', label)}  ${paintRow(characters.join(''), colour, paint)}`);
  }
  return [`${paint('bold', printable(survey.name))}: ${totals(survey, layout, mark)}`, ...rows].join('\n');
}

function totals({ totalMarkedBytes, runs }: ContextSurvey, layout: MapLayout, mark: string): string {
  if (totalMarkedBytes === 0) return `nothing ${mark}`;
  const share = (100 * totalMarkedBytes) / layout.sizeBytes;
  const percent = share < 0.1 ? 'less than 0.1' : share.toFixed(1);
  return `${formatSize(totalMarkedBytes)} ${mark}, ${percent} %, in ${formatCount(runs, 'extent')}`;
}

function sliceLength({ sizeBytes, sliceBytes }: MapLayout, slice: number): number {
  return Math.min(sliceBytes, sizeBytes - slice * sliceBytes);
}

function sliceCharacter(markedBytes: number, lengthBytes: number): string {
  if (markedBytes === 0) return NONE;
  if (markedBytes === lengthBytes) return ALL;
  return SOME[Math.floor((markedBytes / lengthBytes) * SOME.length)]!;
}

/** Colours the marked runs and dims the rest. */
function paintRow(row: string, colour: Style, paint: Paint): string {
  return row.replace(/·+|[^·]+/g, (run) => paint(run.startsWith(NONE) ? 'dim' : colour, run));
}
