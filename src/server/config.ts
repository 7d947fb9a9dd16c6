import { availableParallelism } from 'node:os';
import type { AccessSpec } from '../access/access-spec.js';
import { CodedError } from '../base/coded-error.js';
import { DEFAULT_NBD_PORT, type HostPort } from '../base/host-port.js';
import { controlSocketIn, defaultStateDirectory, scratchDirectoryIn } from '../base/places.js';
import { GIB, MIB } from '../base/units.js';
import type { OnBitmapError } from '../bitmap/store/bitmap-failures.js';
import { DEFAULT_BOUNDS } from '../export/accounting/accounting-memory.js';
import type { WantedExport } from '../export/registry.js';
import type { TlsMode } from '../tls/tls-mode.js';
import type { TlsFiles } from '../tls/tls-settings.js';
import type { HookSpec } from '../watch/hooks/hook-spec.js';
import type { ThresholdSpec } from '../watch/thresholds/threshold-spec.js';
import type { LogFormat } from './log-format.js';
import type { NbdLimits } from './nbd-listener.js';
import { type GivenSettings, readFlags, type SettingKey, type settings } from './settings.js';
import type { SocketAccess } from './unix-socket.js';

/** The complete configuration of a server. */
export interface ServerConfig {
  readonly exports: readonly WantedExport[];
  /** Who may do what. */
  readonly access: readonly AccessSpec[];
  /** When to tell. */
  readonly thresholds: readonly ThresholdSpec[];
  /** Whom to tell of events. */
  readonly hooks: readonly HookSpec[];
  readonly listen: readonly HostPort[];
  readonly unixPath: string | undefined;
  readonly unixAccess: SocketAccess;
  /** Serve one client on stdin and stdout. */
  readonly stdio: boolean;
  /** File descriptors of the listening sockets that this process inherited. */
  readonly inheritedSockets: readonly number[];
  readonly stateDirectory: string;
  readonly scratchDirectory: string;
  /** The control API may only add images below these folders. Empty: images may be anywhere. */
  readonly imageRoots: readonly string[];
  /** Undefined: the server does not accept commands. */
  readonly controlPath: string | undefined;
  readonly http: HostPort | undefined;
  readonly httpTokenFile: string | undefined;
  readonly httpMetricsOnly: boolean;
  readonly tls: TlsConfig;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly limits: NbdLimits;
  readonly persistence: PersistenceConfig;
  /** Between the bins of the latency histograms, in milliseconds. */
  readonly latencyBounds: readonly number[];
  /** How long a backup or a transaction waits for a disk to finish its writes. */
  readonly cutTimeoutSeconds: number;
  /** How long each step of stopping waits for disks. */
  readonly stopTimeoutSeconds: number;
}

interface TlsConfig {
  readonly mode: TlsMode;
  readonly files: TlsFiles;
}

export interface PersistenceConfig {
  readonly transient: boolean;
  readonly onBitmapError: OnBitmapError;
  readonly regionBytes: number;
  readonly maxActiveRegions: number;
  readonly coolAfterSeconds: number;
}

export type LogLevel = NonNullable<ReturnType<(typeof settings)['log-level']['read']>>;

const DEFAULT_LISTEN: HostPort = { host: '127.0.0.1', port: DEFAULT_NBD_PORT };

/**
 * Flags override the file, but exports of both are served, and access rules of both hold. The default address is used only when there is no other.
 * @throws CodedError CONFIG_INVALID
 */
export function resolveConfig(
  flags: GivenSettings = readFlags([]),
  file: GivenSettings = readFlags([]),
  inheritedSockets: readonly number[] = [],
): ServerConfig {
  const from = (key: SettingKey) => (flags.has(key) ? flags : file);
  const all = <Key extends SettingKey>(key: Key) => from(key).all(key);
  const last = <Key extends SettingKey>(key: Key) => from(key).last(key);

  const stdio = last('stdio') ?? false;
  const unixPath = last('unix');
  const listen = all('listen');
  const unixGroup = last('unix-group');
  const stateDirectory = last('state') ?? defaultStateDirectory();
  const config: ServerConfig = {
    exports: [
      ...file.all('export').map((spec) => ({ spec, origin: 'file' as const })),
      ...flags.all('export').map((spec) => ({ spec, origin: 'flag' as const })),
    ],
    access: [...file.all('access'), ...flags.all('access')],
    thresholds: [...file.all('threshold'), ...flags.all('threshold')],
    hooks: [...file.all('hook'), ...flags.all('hook')],
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
    tls: tlsOf(last('tls'), { certificates: last('tls-certificates'), psk: last('tls-psk') }),
    logLevel: last('log-level') ?? 'info',
    logFormat: last('log-format') ?? 'auto',
    limits: {
      maxConnections: stdio ? 1 : (last('max-connections') ?? 256),
      handshakeTimeoutSeconds: last('handshake-timeout') ?? 10,
      busyPollMicroseconds: last('busy-poll') ?? 100,
      memoryBudgetBytes: last('memory-budget') ?? GIB,
      threads: last('threads') ?? availableParallelism(),
    },
    persistence: {
      transient: last('transient') ?? false,
      onBitmapError: last('on-bitmap-error') ?? 'refuse',
      regionBytes: last('region-size') ?? 16 * MIB,
      maxActiveRegions: last('max-active-regions') ?? 512,
      coolAfterSeconds: last('cool-after') ?? 5,
    },
    latencyBounds: last('latency-bounds') ?? DEFAULT_BOUNDS,
    cutTimeoutSeconds: last('cut-timeout') ?? 5,
    stopTimeoutSeconds: last('stop-timeout') ?? 10,
  };
  checkNames('threshold', config.thresholds);
  checkNames('hook', config.hooks);
  checkHttp(config);
  checkStdio(config);
  return config;
}

/** @throws CodedError CONFIG_INVALID */
function checkNames(what: string, named: readonly { readonly name: string }[]): void {
  const names = named.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new CodedError(
    'CONFIG_INVALID',
    `there are two ${what}s with the name ${twice}`,
    'give each a name of its own',
  );
}

/** @throws CodedError CONFIG_INVALID */
function checkStdio({ stdio, listen, unixPath, http }: ServerConfig): void {
  if (!stdio) return;
  if (listen.length > 0) throw stdioConflict('--listen');
  if (unixPath !== undefined) throw stdioConflict('--unix');
  if (http) throw stdioConflict('--http');
}

export function stdioConflict(flag: string): CodedError {
  const hint = 'leave one of them out: with --stdio the server has only one client, on stdin and stdout';
  return new CodedError('CONFIG_INVALID', `--stdio cannot be combined with ${flag}`, hint);
}

/** @throws CodedError CONFIG_INVALID */
function tlsOf(given: TlsMode | undefined, files: TlsFiles): TlsConfig {
  const hasFiles = files.certificates !== undefined || files.psk !== undefined;
  const mode = given ?? (hasFiles ? 'optional' : 'none');
  if (mode !== 'none' && !hasFiles) {
    const hint = 'give --tls-certificates or --tls-psk; tidemark tls init makes certificates';
    throw new CodedError('CONFIG_INVALID', `--tls ${mode} needs certificates or keys`, hint);
  }
  if (mode === 'none' && hasFiles) {
    const hint = 'leave it out, or leave the certificates and keys out';
    throw new CodedError('CONFIG_INVALID', '--tls none does not use the certificates and keys that are given', hint);
  }
  return { mode, files };
}

/** @throws CodedError CONFIG_INVALID */
function checkHttp({ httpTokenFile, httpMetricsOnly }: ServerConfig): void {
  if (!httpMetricsOnly || httpTokenFile === undefined) return;
  throw new CodedError(
    'CONFIG_INVALID',
    '--http-token-file has no effect with --http-metrics-only, which requires no token',
    'leave one of them out',
  );
}
