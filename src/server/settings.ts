import { isDeepStrictEqual } from 'node:util';
import { ACCESS_GRAMMAR, parseAccessSpec } from '../access/access-spec.js';
import { MAX_LATENCY_BOUNDS } from '../api/values.js';
import { CodedError } from '../base/coded-error.js';
import { parseHostPort } from '../base/host-port.js';
import { choice, Given, onOff, path, repeated, type Setting, size, text, whole } from '../base/setting.js';
import { MIB } from '../base/units.js';
import { parseLatencyBounds } from '../export/accounting/latency-bounds.js';
import { EXPORT_GRAMMAR, parseExportSpec } from '../export/export-spec.js';
import { MIN_BUDGET_BYTES } from '../session/memory-budget.js';
import { tlsModes } from '../tls/tls-mode.js';
import { HOOK_GRAMMAR, parseHookSpec } from '../watch/hooks/hook-spec.js';
import { parseThresholdSpec, THRESHOLD_GRAMMAR } from '../watch/thresholds/threshold-spec.js';
import { logFormats } from './log-format.js';

/** A setting of a server. docs/configuration.md describes each; a test holds it against this table. */
interface ServerSetting<Value> extends Setting<Value> {
  readonly description: string;
}

function set<Value>(description: string, setting: Setting<Value>): ServerSetting<Value> {
  return { ...setting, description };
}

/** Beyond that, more threads gain nothing. */
const MAX_THREADS = 256;
const MIN_REGION_BYTES = 65_536;
const hostPort = text('HOST:PORT', 'HOST:PORT', parseHostPort);

function parseMode(given: string): number | undefined {
  return /^0?[0-7]{3}$/.test(given) ? Number.parseInt(given, 8) : undefined;
}

function isRegionSize(bytes: number): boolean {
  return bytes >= MIN_REGION_BYTES && bytes % MIN_REGION_BYTES === 0;
}

/** Each setting is a flag `--KEY` of `tidemark serve`, and a key of the configuration file. */
export const settings = {
  export: set(`a disk to serve: ${EXPORT_GRAMMAR}`, repeated(text('SPEC', 'NAME=PATH and options', parseExportSpec))),
  access: set(`who may do what: ${ACCESS_GRAMMAR}`, repeated(text('RULE', ACCESS_GRAMMAR, parseAccessSpec))),
  threshold: set(
    `when to tell that something needs attention: ${THRESHOLD_GRAMMAR}`,
    repeated(text('THRESHOLD', THRESHOLD_GRAMMAR, parseThresholdSpec)),
  ),
  hook: set(`whom to tell of events: ${HOOK_GRAMMAR}`, repeated(text('HOOK', HOOK_GRAMMAR, parseHookSpec))),
  listen: set('serve NBD on this TCP address', repeated(hostPort)),
  unix: set('serve NBD on this unix socket', path('PATH')),
  'unix-mode': set(
    'mode of that socket, which says who may connect',
    text('MODE', 'three or four octal digits in quotes, such as 0660', parseMode),
  ),
  'unix-group': set(
    'group of that socket',
    text('GROUP', 'the name or number of a group', (given) => given || undefined),
  ),
  stdio: set('serve one client on stdin and stdout, and exit when it disconnects', onOff()),
  state: set('keep bitmaps in this directory', path('DIR')),
  scratch: set('directory for old data that views of backups still need', path('DIR')),
  'image-root': set('let commands add only images below this directory', repeated(path('DIR'))),
  control: set('accept commands on this unix socket', path('PATH')),
  http: set('also accept commands on this TCP address', hostPort),
  'http-token-file': set(
    'file with the token that commands over TCP must carry (default: the server makes one)',
    path('FILE'),
  ),
  'http-metrics-only': set('serve only /metrics and /healthz over TCP, without a token', onOff()),
  tls: set(
    'whether NBD clients can or must use TLS (default: optional with certificates or keys, else none)',
    choice('MODE', tlsModes),
  ),
  'tls-certificates': set('directory with ca-cert.pem, server-cert.pem and server-key.pem', path('DIR')),
  'tls-psk': set('file with the keys of clients, as psktool writes it', path('FILE')),
  'log-level': set(
    'lowest level to log',
    choice('LEVEL', ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']),
  ),
  'log-format': set(
    'how to log: readable lines, one object of JSON a line, or readable lines on a terminal only',
    choice('FORMAT', logFormats),
  ),
  'max-connections': set('maximum number of NBD clients', whole('N', 1, 100_000)),
  'handshake-timeout': set(
    'disconnect clients that have not chosen an export after this time',
    whole('SECONDS', 1, 3600),
  ),
  'memory-budget': set(
    'memory that clients share for large or waiting requests',
    size('SIZE', `a size from ${MIN_BUDGET_BYTES / MIB}M`, (bytes) => bytes >= MIN_BUDGET_BYTES),
  ),
  threads: set('number of threads that serve clients (default: one for each core)', whole('N', 1, MAX_THREADS)),
  'busy-poll': set('how long to poll for the next request (0: never)', whole('MICROSECONDS', 0, 1_000_000)),
  'latency-bounds': set(
    'bounds between the bins of the latency histograms',
    text('TIMES', `1 to ${MAX_LATENCY_BOUNDS} rising times such as 50us,1ms`, parseLatencyBounds),
  ),
  transient: set('keep bitmaps only in memory, so that they are lost when the server stops', onOff()),
  'on-bitmap-error': set(
    'what to do when a write cannot be recorded: refuse it, or continue without bitmaps',
    choice('WHAT', ['refuse', 'continue']),
  ),
  'region-size': set('size of a region in the write-intent log', size('SIZE', 'a multiple of 64K', isRegionSize)),
  'max-active-regions': set('maximum number of regions that count as dirty after a crash', whole('N', 1, 1_000_000)),
  'cool-after': set('time without writes after which a region is no longer active', whole('SECONDS', 0, 86_400)),
  'cut-timeout': set(
    'how long a backup or a transaction waits for a disk before it is refused',
    whole('SECONDS', 1, 3600),
  ),
  'stop-timeout': set('how long each step of stopping waits for a disk', whole('SECONDS', 1, 3600)),
} satisfies Record<string, ServerSetting<unknown>>;

export type SettingKey = keyof typeof settings;

export const settingKeys = Object.keys(settings) as SettingKey[];

export type GivenSettings = Given<typeof settings>;

/** The settings that differ. */
export function changedSettings(before: GivenSettings, after: GivenSettings): SettingKey[] {
  return settingKeys.filter((key) => !isDeepStrictEqual(before.all(key), after.all(key)));
}

/** A flag as the user wrote it; `true` for a switch. */
export interface Flag {
  readonly key: SettingKey;
  readonly value: string | true;
}

/** @throws CodedError CONFIG_INVALID, EXPORT_INVALID */
export function readFlags(flags: readonly Flag[]): GivenSettings {
  const given: GivenSettings = new Given(settings);
  for (const { key, value } of flags) {
    if (given.read(key, value)) continue;
    throw new CodedError('CONFIG_INVALID', `--${key}: invalid ${key} "${value}"`, `expected ${settings[key].expected}`);
  }
  return given;
}
