import { MIB, parseSize } from '../base/units.js';
import { EXPORT_GRAMMAR, type ExportSpec, parseExportSpec } from '../export/export-spec.js';
import { MIN_BUDGET_BYTES } from '../session/memory-budget.js';
import { type HostPort, parseHostPort } from './host-port.js';

/**
 * One setting of a server: a flag `--key` of `tidemark serve`, and a key of the configuration file.
 * docs/configuration.md describes each; a test holds it against this table.
 */
export interface Setting<Value> {
  /** What stands for the value in a help text; undefined for a switch. */
  readonly argument: string | undefined;
  readonly description: string;
  /** May be given several times. */
  readonly repeated: boolean;
  /** What a value must be, to stand behind "expected". */
  readonly expected: string;
  /** In the configuration file it stands in quotes: as a number it would mean something else there. */
  readonly textOnly?: boolean;
  /** Undefined when the text is not a value. `true` and `false` are those of a switch. */
  readonly parse: (text: string) => Value | undefined;
}

function one<Value>(
  argument: string,
  description: string,
  expected: string,
  parse: (text: string) => Value | undefined,
): Setting<Value> {
  return { argument, description, repeated: false, expected, parse };
}

function choice<const Name extends string>(argument: string, description: string, names: readonly Name[]) {
  return one(argument, description, `one of ${names.join(', ')}`, (text) => names.find((name) => name === text));
}

function whole(argument: string, description: string, least: number, most: number): Setting<number> {
  return one(argument, description, `a whole number from ${least} to ${most}`, (text) => {
    const value = Number(text);
    return /^\d+$/.test(text) && value >= least && value <= most ? value : undefined;
  });
}

function path(argument: string, description: string): Setting<string> {
  return { ...one(argument, description, 'a path', (text) => text || undefined), textOnly: true };
}

function octalMode(text: string): number | undefined {
  return /^0?[0-7]{3}$/.test(text) ? Number.parseInt(text, 8) : undefined;
}

function flag(description: string): Setting<boolean> {
  const parse = (text: string) => (text === 'true' ? true : text === 'false' ? false : undefined);
  return { argument: undefined, description, repeated: false, expected: 'true or false', parse };
}

const MIN_REGION_BYTES = 65_536;

function regionBytes(text: string): number | undefined {
  const bytes = parseSize(text);
  return bytes !== undefined && bytes >= MIN_REGION_BYTES && bytes % MIN_REGION_BYTES === 0 ? bytes : undefined;
}

function memoryBudget(text: string): number | undefined {
  const bytes = parseSize(text);
  return bytes !== undefined && bytes >= MIN_BUDGET_BYTES ? bytes : undefined;
}

export const settings = {
  export: {
    ...one<ExportSpec>('SPEC', `a disk to serve: ${EXPORT_GRAMMAR}`, 'NAME=PATH and options', parseExportSpec),
    repeated: true,
  },
  listen: {
    ...one<HostPort>('HOST:PORT', 'serve NBD on this TCP address', 'HOST:PORT', parseHostPort),
    repeated: true,
  },
  unix: path('PATH', 'serve NBD on this unix socket'),
  'unix-mode': {
    ...one(
      'MODE',
      'mode of that socket: who may connect',
      'three or four octal digits in quotes, such as 0660',
      octalMode,
    ),
    textOnly: true,
  },
  'unix-group': {
    ...one('GROUP', 'group of that socket', 'the name or number of a group', (text) => text || undefined),
    textOnly: true,
  },
  stdio: flag('serve one client on stdin and stdout, and end with it'),
  state: path('DIR', 'keep bitmaps in this directory'),
  scratch: path('DIR', 'keep old data that views of backups still need in this directory'),
  'image-root': {
    ...path('DIR', 'take images from below this directory alone, when commands add exports'),
    repeated: true,
  },
  control: path('PATH', 'take commands on this unix socket'),
  http: one<HostPort>('HOST:PORT', 'take commands on this TCP address too', 'HOST:PORT', parseHostPort),
  'http-token-file': path(
    'FILE',
    'take the token for commands over TCP from this file (default: one that the server makes)',
  ),
  'http-metrics-only': flag('answer only /metrics and /healthz over TCP, to everybody who asks'),
  'log-level': choice('LEVEL', 'lowest level to log', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  'max-connections': whole('N', 'turn away more NBD clients than this', 1, 100_000),
  'handshake-timeout': whole('SECONDS', 'cut off a client that has not chosen an export by then', 1, 3600),
  'memory-budget': one(
    'SIZE',
    'memory that clients share for large or waiting requests',
    `a size from ${MIN_BUDGET_BYTES / MIB}M`,
    memoryBudget,
  ),
  'busy-poll': whole('MICROSECONDS', 'wait awake for so long for the next request; 0: never', 0, 1_000_000),
  transient: flag('keep bitmaps in memory alone: they are gone when the server stops'),
  'on-bitmap-error': choice('WHAT', 'when a write cannot be recorded: refuse it, or continue without bitmaps', [
    'refuse',
    'continue',
  ]),
  'region-size': one('SIZE', 'size of a region in the write-intent log', 'a multiple of 64K', regionBytes),
  'max-active-regions': whole('N', 'regions that may count as dirty after a crash', 1, 1_000_000),
  'cool-after': whole('SECONDS', 'store the bits of a region that is not written for so long', 0, 86_400),
  'cut-timeout': whole('SECONDS', 'refuse a backup or a transaction when a disk has not answered by then', 1, 3600),
  'stop-timeout': whole('SECONDS', 'when stopping, give up on a disk that has not answered by then', 1, 3600),
} satisfies Record<string, Setting<unknown>>;

export type SettingKey = keyof typeof settings;
export type SettingValue<Key extends SettingKey> = NonNullable<ReturnType<(typeof settings)[Key]['parse']>>;

export const settingKeys = Object.keys(settings) as SettingKey[];
