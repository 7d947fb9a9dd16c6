import { styleText } from 'node:util';
import { inWords } from '../base/in-words.js';
import { printable, printableJson } from '../base/printable.js';

/** How lines of the log are written: for people, or one object of JSON a line. */
export const logFormats = ['auto', 'text', 'json'] as const;
export type LogFormat = (typeof logFormats)[number];

/** Makes a line that is written from a line of pino, which is one object of JSON. Both end with a line break. */
export type FormatLine = (line: string) => string;

type Style = Parameters<typeof styleText>[0];

/** By the number that pino writes for each level. */
const levels: Readonly<Record<number, readonly [string, Style]>> = {
  10: ['TRACE', 'gray'],
  20: ['DEBUG', 'blue'],
  30: ['INFO', 'green'],
  40: ['WARN', 'yellow'],
  50: ['ERROR', 'red'],
  60: ['FATAL', 'red'],
};
const LEVEL_WIDTH = 5;
const PINO_ERROR = 50;

interface Line {
  readonly level: number;
  readonly time: number;
  readonly msg?: string;
  readonly err?: { readonly message?: string; readonly stack?: string };
  /** The type and the id of an event. The message says the same as the type. */
  readonly event?: string;
  readonly id?: unknown;
}

/** `auto` means text for a terminal, else JSON. Lines for a terminal are in colour, unless NO_COLOR is set. */
export function formatterOf(
  format: LogFormat,
  terminal: { readonly isTerminal: boolean; readonly noColour: boolean },
): FormatLine {
  const isText = format === 'text' || (format === 'auto' && terminal.isTerminal);
  if (!isText) return printableJson;
  const colours = terminal.isTerminal && !terminal.noColour;
  const paint = (style: Style, text: string) => (colours ? styleText(style, text, { validateStream: false }) : text);
  return (line) => {
    const parsed = parse(line);
    return parsed ? toText(parsed, paint) : printableJson(line);
  };
}

/** Undefined if it is not JSON. The log must not fail because of a line. */
function parse(line: string): Line | undefined {
  try {
    return JSON.parse(line) as Line;
  } catch {
    return undefined;
  }
}

/**
 * The time, the level, what happened, and the facts about it. Everything that may come from elsewhere is escaped before it
 * is coloured, because JSON.parse has turned escapes back into control characters.
 */
function toText(
  { level, time, msg = '', err, event, id, ...fields }: Line,
  paint: (style: Style, text: string) => string,
) {
  const [name, style] = levels[level] ?? [String(level), 'gray'];
  const facts = { ...fields, ...(event === undefined && { id }), ...(err && { err: err.message ?? err }) };
  const words = printable(inWords(facts));
  const head = `${paint('gray', localTime(new Date(time)))} ${paint(style, name.padEnd(LEVEL_WIDTH))}`;
  const stack = level >= PINO_ERROR && err?.stack ? paint('gray', `\n${stackOf(err.stack)}`) : '';
  return `${head} ${printable(msg)}${words && `  ${paint('gray', words)}`}${stack}\n`;
}

/** Only the lines that say where; the first says what, as the message does. */
function stackOf(stack: string): string {
  const lines = stack.split('\n').filter((line) => /^\s+at /.test(line));
  return lines.map((line) => `    ${printable(line.trim())}`).join('\n');
}

function localTime(at: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const date = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  const time = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(':');
  return `${date} ${time}.${String(at.getMilliseconds()).padStart(3, '0')}`;
}
