import { CodedError } from '../base/coded-error.js';
import { controlSocketIn, defaultStateDirectory, scratchDirectoryIn } from '../base/places.js';
import { GIB, MIB } from '../base/units.js';
import type { OnBitmapError } from '../bitmap/store/persistent-bitmaps.js';
import type { ExportSpec } from '../export/export-spec.js';
import type { HostPort } from './host-port.js';
import type { NbdLimits } from './nbd-listener.js';
import { type SettingKey, type SettingValue, settings } from './settings.js';
import type { SocketAccess } from './unix-socket.js';

/** All that a server needs to know. */
export interface ServerConfig {
  readonly exports: readonly ExportSpec[];
  readonly listen: readonly HostPort[];
  readonly unixPath: string | undefined;
  readonly unixAccess: SocketAccess;
  /** One client is served, on stdin and stdout. */
  readonly stdio: boolean;
  /** Listening sockets that this process was started with, as file descriptors. */
  readonly inheritedSockets: readonly number[];
  readonly stateDirectory: string;
  readonly scratchDirectory: string;
  /** Folders below which the control API takes images; none for anywhere. */
  readonly imageRoots: readonly string[];
  /** Undefined: no commands are taken. */
  readonly controlPath: string | undefined;
  readonly http: HostPort | undefined;
  readonly httpTokenFile: string | undefined;
  readonly httpMetricsOnly: boolean;
  readonly logLevel: SettingValue<'log-level'>;
  readonly limits: NbdLimits;
  readonly persistence: PersistenceConfig;
  /** How long a change at one instant waits for a disk. */
  readonly cutTimeoutSeconds: number;
  /** How long each step of stopping waits for one. */
  readonly stopTimeoutSeconds: number;
}

export interface PersistenceConfig {
  readonly transient: boolean;
  readonly onBitmapError: OnBitmapError;
  readonly regionBytes: number;
  readonly maxActiveRegions: number;
  readonly coolAfterSeconds: number;
}

/** A setting as somebody wrote it. */
export interface Entry {
  readonly key: SettingKey;
  readonly text: string;
  /** Where it was written, for people: `--listen`, `tidemark.toml:12`. */
  readonly place: string;
}

const DEFAULT_LISTEN: HostPort = { host: '127.0.0.1', port: 10809 };

/** Flags win over the file; exports of both are served. The default address gives way to any other. @throws CodedError CONFIG_INVALID */
export function resolveConfig(
  flags: readonly Entry[],
  file: readonly Entry[] = [],
  fileExports: readonly ExportSpec[] = [],
  inheritedSockets: readonly number[] = [],
): ServerConfig {
  const all = <Key extends SettingKey>(key: Key): SettingValue<Key>[] => {
    const given = flags.filter((entry) => entry.key === key);
    return (given.length > 0 ? given : file.filter((entry) => entry.key === key)).map((entry) => readValue<Key>(entry));
  };
  const last = <Key extends SettingKey>(key: Key) => all(key).at(-1);

  const stdio = last('stdio') ?? false;
  const unixPath = last('unix');
  const listen = all('listen');
  const unixGroup = last('unix-group');
  const stateDirectory = last('state') ?? defaultStateDirectory();
  const config: ServerConfig = {
    exports: [...fileExports, ...all('export')],
    listen:
      listen.length > 0 || unixPath !== undefined || stdio || inheritedSockets.length > 0 ? listen : [DEFAULT_LISTEN],
    unixPath,
    unixAccess: { group: unixGroup, mode: last('unix-mode') ?? (unixGroup === undefined ? 0o600 : 0o660) },
    stdio,
    inheritedSockets,
    stateDirectory,
    scratchDirectory: last('scratch') ?? scratchDirectoryIn(stateDirectory),
    imageRoots: all('image-root'),
    controlPath: last('control') ?? (stdio ? undefined : controlSocketIn(stateDirectory)),
    http: last('http'),
    httpTokenFile: last('http-token-file'),
    httpMetricsOnly: last('http-metrics-only') ?? false,
    logLevel: last('log-level') ?? 'info',
    limits: {
      maxConnections: stdio ? 1 : (last('max-connections') ?? 256),
      handshakeTimeoutSeconds: last('handshake-timeout') ?? 10,
      busyPollMicroseconds: last('busy-poll') ?? 50,
      memoryBudgetBytes: last('memory-budget') ?? GIB,
    },
    persistence: {
      transient: last('transient') ?? false,
      onBitmapError: last('on-bitmap-error') ?? 'refuse',
      regionBytes: last('region-size') ?? 16 * MIB,
      maxActiveRegions: last('max-active-regions') ?? 512,
      coolAfterSeconds: last('cool-after') ?? 5,
    },
    cutTimeoutSeconds: last('cut-timeout') ?? 5,
    stopTimeoutSeconds: last('stop-timeout') ?? 10,
  };
  checkHttp(config);
  checkStdio(config);
  return config;
}

/** @throws CodedError CONFIG_INVALID */
function readValue<Key extends SettingKey>({ key, text, place }: Entry): SettingValue<Key> {
  const { parse, expected } = settings[key];
  const value = parse(text);
  if (value !== undefined) return value as SettingValue<Key>;
  throw new CodedError('CONFIG_INVALID', `${place}: "${text}" is no value for ${key}`, `expected ${expected}`);
}

/** @throws CodedError CONFIG_INVALID */
function checkStdio({ stdio, listen, unixPath, http }: ServerConfig): void {
  if (!stdio) return;
  if (listen.length > 0) throw stdioConflict('--listen');
  if (unixPath !== undefined) throw stdioConflict('--unix');
  if (http) throw stdioConflict('--http');
}

export function stdioConflict(flag: string): CodedError {
  const hint = 'leave one of them out: with --stdio one client is served, on stdin and stdout';
  return new CodedError('CONFIG_INVALID', `--stdio cannot be combined with ${flag}`, hint);
}

/** @throws CodedError CONFIG_INVALID */
function checkHttp({ httpTokenFile, httpMetricsOnly }: ServerConfig): void {
  if (!httpMetricsOnly || httpTokenFile === undefined) return;
  throw new CodedError(
    'CONFIG_INVALID',
    'with --http-metrics-only nothing asks for the token of --http-token-file',
    'leave one of them out',
  );
}
