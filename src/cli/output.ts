import { printable, printableJson, printableLines, printableValue } from '../base/printable.js';

/** What the program writes to: its stdout or stderr. */
export interface Output {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** The only control sequences that are sent to a terminal: to erase the line, and what `styleText` of Node makes. */
const ERASE_LINE = '\r\u001b[K';
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what is looked for
const STYLES = /(\u001b\[[0-9;]*m)/;

/*
 * Everything that a command writes is written here, so that no text from elsewhere reaches a terminal as it is: what is
 * neither printable nor a line break is shown as an escape.
 */

/** Writes text that has its line breaks. */
export function writeText(output: Output, text: string): void {
  output.write(printableLines(text));
}

/** Writes one line, whatever is in it. */
export function writeLine(output: Output, line: string): void {
  output.write(`${printable(line)}\n`);
}

/** Writes text with styles, in which what came from elsewhere is printable already. */
export function writeStyled(output: Output, text: string): void {
  const parts = text.split(STYLES);
  output.write(parts.map((part, i) => (i % 2 === 1 ? part : printableLines(part))).join(''));
}

/** Writes a line in place of the one that the cursor is in. */
export function rewriteLine(output: Output, line: string): void {
  output.write(`${ERASE_LINE}${printable(line)}`);
}

let documents = 0;

/** Whether the program has printed its document: with --json there is one. */
export function hasWrittenJson(): boolean {
  return documents > 0;
}

/** Writes one JSON document; on one line unless it is for people too. */
export function writeJson(output: Output, value: unknown, indent?: number): void {
  documents++;
  output.write(`${toJson(value, indent)}\n`);
}

/** JSON that a terminal may be shown. */
export function toJson(value: unknown, indent?: number): string {
  return printableJson(JSON.stringify(value, null, indent));
}

/** Prints an answer as JSON, or as `text` says it. */
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
