import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import { formatSize, parseSeconds, parseSize } from '../base/units.js';
import { ControlClient } from './control-client.js';
import { controlPlace } from './control-place.js';
import type { CredentialFiles } from './credential-files.js';
import { print } from './output.js';

export interface CommonOptions extends CredentialFiles {
  readonly json?: boolean;
  readonly control?: string;
}

/** Adds the options that every command has, to one that talks to a server. */
export function withCommonOptions(command: Command): Command {
  return withOptions(
    command,
    'control socket of the server, or https://HOST:PORT (default: $TIDEMARK_CONTROL, or control.sock in the default state ' +
      'directory)',
  )
    .option(
      '--tls-certificates <DIR>',
      'folder with ca-cert.pem, client-cert.pem and client-key.pem (default: $TIDEMARK_TLS_CERTIFICATES)',
    )
    .option('--tls-psk <FILE>', 'file of keys for TLS, USER:HEX on each line (default: $TIDEMARK_TLS_PSK)')
    .option(
      '--token-file <FILE>',
      'file with the token for the server (default: $TIDEMARK_TOKEN_FILE, or the token in $TIDEMARK_TOKEN)',
    );
}

/** Adds options to a command that talks to no server, so that scripts can pass the same ones to every command. */
export function withOfflineOptions(command: Command): Command {
  return withOptions(command, 'accepted and ignored: this command does not talk to a server');
}

function withOptions(command: Command, control: string): Command {
  return command.option('--json', 'print one JSON document').option('--control <PATH>', control);
}

export function controlClient(options: CommonOptions): ControlClient {
  return new ControlClient(controlPlace(options.control, options));
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

/** Argument parser for commander: a time in seconds. */
export function secondsArgument(text: string): number {
  const seconds = parseSeconds(text);
  if (seconds === undefined) throw new InvalidArgumentError('Expected a time such as 90s, 30m or 2h.');
  return seconds;
}

export { formatSize, print };

/** The version in package.json, which is next to the folder of the built program. */
export function readVersion(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return version;
}

/** Signals that ask a program to stop: from the user, a supervisor, or a terminal that closes. */
const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

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
