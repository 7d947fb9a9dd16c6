import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { formatSize, parseSize } from '../base/units.js';
import { ControlClient, defaultControlPath } from './control-client.js';
import { print } from './output.js';

export interface CommonOptions {
  readonly json?: boolean;
  readonly control?: string;
}

/** Adds the options that every command has, to one that talks to a server. */
export function withCommonOptions(command: Command): Command {
  return withOptions(
    command,
    "the server's control socket (default: $TIDEMARK_CONTROL, or control.sock in the default state directory)",
  );
}

/** Adds the same options to a command that talks to no server, so that scripts can pass them to every command. */
export function withOfflineOptions(command: Command): Command {
  return withOptions(command, 'accepted and ignored: this command does not talk to a server');
}

function withOptions(command: Command, control: string): Command {
  return command.option('--json', 'print one JSON document').option('--control <PATH>', control);
}

export function controlClient({ control }: CommonOptions): ControlClient {
  return new ControlClient(control ?? defaultControlPath());
}

/** Lays out rows under their headings. Columns whose index is in `right` are aligned to the right. */
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

/** Argument parser for commander: a size in bytes. */
export function sizeArgument(text: string): number {
  const bytes = parseSize(text);
  if (bytes === undefined) throw new InvalidArgumentError('Expected a size such as 512M or 10G.');
  return bytes;
}

export { formatSize, print };

/** The version in package.json, which is next to the folder of the built program. */
export function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return version;
}

/** Signals that ask a program to stop: from the user, a supervisor, or a terminal that closes. */
export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Aborts on the first signal to stop, so that a command can clean up; a second signal ends the program at once. */
export function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  const abort = () => {
    for (const signal of stopSignals) process.off(signal, abort);
    controller.abort(new Error('interrupted'));
  };
  for (const signal of stopSignals) process.on(signal, abort);
  return controller.signal;
}
