import { printable, printableJson, printableLines, printableValue } from '../base/printable.js';

/** The program's stdout or stderr. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/*
 * The only control sequences sent to a terminal are these and those made by Node's `styleText`. The alternate screen is
 * entered without a cursor, and without wrapping lines that are too long.
 */
const ERASE_LINE = '\r\u001b[K';
const ENTER_SCREEN = '\u001b[?1049h\u001b[?25l\u001b[?7l';
const LEAVE_SCREEN = '\u001b[?7h\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const ERASE_REST_OF_LINE = '\u001b[K';
const ERASE_BELOW = '\u001b[J';
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches escape sequences
const STYLES = /(\u001b\[[0-9;]*m)/;

/*
 * Commands write all their output through this file, so that text from elsewhere cannot send control sequences to a
 * terminal: characters that are neither printable nor line breaks are shown as escapes.
 */

/** Writes text, and keeps its line breaks. */
export function writeText(output: Output, text: string): void {
  output.write(printableLines(text));
}

/** Writes one line; line breaks in it are shown as escapes. */
export function writeLine(output: Output, line: string): void {
  output.write(`${printable(line)}\n`);
}

/** Writes styled text. The caller has already escaped the parts that came from elsewhere. */
export function writeStyled(output: Output, text: string): void {
  const parts = text.split(STYLES);
  output.write(parts.map((part, i) => (i % 2 === 1 ? part : printableLines(part))).join(''));
}

/** Replaces the line that the cursor is on. */
export function rewriteLine(output: Output, line: string): void {
  output.write(`${ERASE_LINE}${printable(line)}`);
}

/** Takes the whole terminal, until `leaveScreen` shows again what was there before. */
export function enterScreen(output: Output): void {
  output.write(ENTER_SCREEN);
}

export function leaveScreen(output: Output): void {
  output.write(LEAVE_SCREEN);
}

/** Shows these lines, and nothing else, on the screen that was entered. */
export function drawScreen(output: Output, lines: readonly string[]): void {
  const shown = lines.map((line) => `${printable(line)}${ERASE_REST_OF_LINE}`);
  output.write(`${HOME}${shown.join('\r\n')}${ERASE_BELOW}`);
}

let documents = 0;

/** Whether the program has printed its JSON document. With --json it prints exactly one. */
export function hasWrittenJson(): boolean {
  return documents > 0;
}

/** Writes one JSON document, on one line unless an indent is given. */
export function writeJson(output: Output, value: unknown, indent?: number): void {
  documents++;
  output.write(`${toJson(value, indent)}\n`);
}

/** JSON that is safe to show on a terminal. */
export function toJson(value: unknown, indent?: number): string {
  return printableJson(JSON.stringify(value, null, indent));
}

/** Prints an answer as JSON, or as the text that `text` makes of it. */
export function print<Answer>(
  { json }: { readonly json?: boolean },
  answer: Answer,
  text: (answer: Answer) => string,
): void {
  if (json) {
    writeJson(process.stdout, answer, 2);
    return;
  }
  const output = text(printableValue(answer));
  if (output !== '') writeText(process.stdout, `${output}\n`);
}
