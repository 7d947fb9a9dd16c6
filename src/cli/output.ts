import { printable, printableJson, printableLines, printableValue } from '../base/printable.js';

/** The program's stdout or stderr. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** The only control sequences sent to a terminal are this one and those made by Node's `styleText`. */
const ERASE_LINE = '\r\u001b[K';
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
