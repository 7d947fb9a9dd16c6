import { MIB, parseSize } from '../base/units.js';
import { EXPORT_GRAMMAR, type ExportSpec, parseExportSpec } from '../export/export-spec.js';
import { MIN_BUDGET_BYTES } from '../session/memory-budget.js';
import { type HostPort, parseHostPort } from './host-port.js';

/**
 * One setting of a server: a flag `--key` of `tidemark serve`, and a key of the configuration file.
 * docs/configuration.md describes each; a test holds it against this table.
 */
export interface Setting<Value> {
  /** The placeholder of the value in help texts. Undefined for a switch. */
  readonly argument: string | undefined;
  readonly description: string;
  /** Whether it may be given several times. */
  readonly repeated: boolean;
  /** Describes a valid value; messages put it after "expected". */
  readonly expected: string;
  /** Must be in quotes in the configuration file, where a number would mean something else. */
  readonly textOnly?: boolean;
  /** Undefined if the text is invalid. The values of a switch are `true` and `false`. */
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
      'mode of that socket, which says who may connect',
      'three or four octal digits in quotes, such as 0660',
      octalMode,
    ),
    textOnly: true,
  },
  'unix-group': {
    ...one('GROUP', 'group of that socket', 'the name or number of a group', (text) => text || undefined),
    textOnly: true,
  },
  stdio: flag('serve one client on stdin and stdout, and exit when it disconnects'),
  state: path('DIR', 'keep bitmaps in this directory'),
  scratch: path('DIR', 'directory for old data that views of backups still need'),
  'image-root': {
    ...path('DIR', 'let commands add only images below this directory'),
    repeated: true,
  },
  control: path('PATH', 'accept commands on this unix socket'),
  http: one<HostPort>('HOST:PORT', 'also accept commands on this TCP address', 'HOST:PORT', parseHostPort),
  'http-token-file': path(
    'FILE',
    'file with the token that commands over TCP must carry (default: the server makes one)',
  ),
  'http-metrics-only': flag('serve only /metrics and /healthz over TCP, without a token'),
  'log-level': choice('LEVEL', 'lowest level to log', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  'max-connections': whole('N', 'maximum number of NBD clients', 1, 100_000),
  'handshake-timeout': whole('SECONDS', 'disconnect clients that have not chosen an export after this time', 1, 3600),
  'memory-budget': one(
    'SIZE',
    'memory that clients share for large or waiting requests',
    `a size from ${MIN_BUDGET_BYTES / MIB}M`,
    memoryBudget,
  ),
  'busy-poll': whole('MICROSECONDS', 'how long to poll for the next request (0: never)', 0, 1_000_000),
  transient: flag('keep bitmaps only in memory, so that they are lost when the server stops'),
  'on-bitmap-error': choice(
    'WHAT',
    'what to do when a write cannot be recorded: refuse it, or continue without bitmaps',
    ['refuse', 'continue'],
  ),
  'region-size': one('SIZE', 'size of a region in the write-intent log', 'a multiple of 64K', regionBytes),
  'max-active-regions': whole('N', 'maximum number of regions that count as dirty after a crash', 1, 1_000_000),
  'cool-after': whole('SECONDS', 'time without writes after which a region is no longer active', 0, 86_400),
  'cut-timeout': whole('SECONDS', 'how long a backup or a transaction waits for a disk before it is refused', 1, 3600),
  'stop-timeout': whole('SECONDS', 'how long each step of stopping waits for a disk', 1, 3600),
} satisfies Record<string, Setting<unknown>>;

export type SettingKey = keyof typeof settings;
export type SettingValue<Key extends SettingKey> = NonNullable<ReturnType<(typeof settings)[Key]['parse']>>;

export const settingKeys = Object.keys(settings) as SettingKey[];
