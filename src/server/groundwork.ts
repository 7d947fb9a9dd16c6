import type { AccessRules } from '../access/access-rules.js';
import type { Log } from '../base/log.js';
import { loadPosix } from '../posix/posix.js';
import type { TlsMode } from '../tls/tls-mode.js';
import { loadServerTls, type TlsSettings } from '../tls/tls-settings.js';
import { accessRulesOf } from './access-config.js';
import type { ServerConfig } from './config.js';
import { checkSocketPaths } from './nbd-addresses.js';
import { makePrivateDirectory } from './private-directory.js';
import { StateDirectory } from './state-directory.js';

/** Who may use the server, and how it proves who it is. */
export interface Credentials {
  /** Undefined: clients cannot use TLS. */
  readonly tls: { readonly mode: Exclude<TlsMode, 'none'>; readonly settings: TlsSettings } | undefined;
  readonly rules: AccessRules;
}

/** What a server needs before it opens its disks. */
export interface Groundwork {
  readonly credentials: Credentials;
  /** Undefined if nothing is kept in it. */
  readonly state: StateDirectory | undefined;
}

/**
 * Checks the addresses and credentials of a configuration, then opens the state directory. Most of the server's modules
 * are not needed for that, so they can be loaded meanwhile. @throws CodedError
 */
export async function layGroundwork(config: ServerConfig, log: Log): Promise<Groundwork> {
  await checkSocketPaths(config);
  const credentials = await readCredentials(config);
  return { credentials, state: await openState(config, log) };
}

/** @throws CodedError TLS_UNUSABLE, CONFIG_INVALID */
export async function readCredentials({ tls: { mode, files }, access }: ServerConfig): Promise<Credentials> {
  const tls = mode === 'none' ? undefined : { mode, settings: await loadServerTls(files) };
  return { tls, rules: await accessRulesOf({ access }) };
}

/** Locks the directory even if bitmaps are only in memory, because the control socket is there. */
async function openState(config: ServerConfig, log: Log): Promise<StateDirectory | undefined> {
  const { stateDirectory, persistence, controlPath } = config;
  if (persistence.transient && controlPath === undefined) return undefined;
  await makePrivateDirectory(stateDirectory, log);
  return await StateDirectory.open(stateDirectory, loadPosix(), log);
}
