import { type Command, InvalidArgumentError } from 'commander';
import { formatSize, parseSize } from '../base/units.js';
import { ControlClient, defaultControlPath } from './control-client.js';
import { print } from './output.js';

export interface CommonOptions {
  readonly json?: boolean;
  readonly control?: string;
}

/** Gives a command that asks a server the options that every command has. */
export function withCommonOptions(command: Command): Command {
  return withOptions(command, "the server's control socket (default: $TIDEMARK_CONTROL, else that of a server)");
}

/** Gives a command that asks no server the same options, so that scripts may pass them to any. */
export function withOfflineOptions(command: Command): Command {
  return withOptions(command, 'not used: no server is asked');
}

function withOptions(command: Command, control: string): Command {
  return command.option('--json', 'print one JSON document').option('--control <PATH>', control);
}

export function controlClient({ control }: CommonOptions): ControlClient {
  return new ControlClient(control ?? defaultControlPath());
}

/** Rows under their headings, the columns aligned; numbers are for the right-hand side. */
export function formatTable(
  headings: readonly string[],
  rows: readonly (readonly string[])[],
  right: number[] = [],
): string {
  const widths = headings.map((heading, i) => Math.max(heading.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [headings, ...rows].map(line).join('\n');
}

/** For commander: a size argument in bytes. */
export function sizeArgument(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError('Expected a size such as 512M or 10G.');
  return bytes;
}

export { formatSize, print };
