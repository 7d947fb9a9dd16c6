import { resolve } from 'node:path';
import { formatHostPort } from '../base/host-port.js';
import type { Log } from '../base/log.js';
import type { ServerFacts } from '../control/control-host.js';
import type { ControlServer } from '../control/control-server.js';
import type { TlsSettings } from '../tls/tls-settings.js';
import type { ServerConfig } from './config.js';
import { ownToken, readGivenToken } from './http-token.js';
import { clearSocketPath, refuseAddress } from './unix-socket.js';

export interface HttpToken {
  readonly token: string;
  readonly path: string;
}

/** Listens on the TCP address for commands, if there is one. @throws CodedError ADDRESS_UNUSABLE */
export async function listenForHttp(
  control: ControlServer,
  { http, tls: { mode } }: ServerConfig,
  { token, tls: settings }: { readonly token: HttpToken | undefined; readonly tls: TlsSettings | undefined },
  log: Log,
): Promise<ServerFacts['http']> {
  if (!http) return undefined;
  const { address, port } = await control
    .listenTcp({ ...http, token: token?.token, tls: settings && { settings, isRequired: mode === 'required' } })
    .catch(refuseAddress(formatHostPort(http)));
  const tokenFile = token && resolve(token.path);
  const facts = {
    host: address,
    port,
    tls: settings !== undefined,
    ...(tokenFile && { tokenFile }),
    metricsOnly: tokenFile === undefined,
  };
  log.info(facts, 'the control API listens on TCP');
  return facts;
}

/** @throws CodedError ADDRESS_UNUSABLE */
export async function listenForCommands(control: ControlServer, path: string): Promise<void> {
  await clearSocketPath(path);
  await control.listenUnix(path).catch(refuseAddress(path));
}

/** Undefined if no route requires a token. @throws CodedError CONFIG_INVALID */
export async function httpToken({
  http,
  httpTokenFile: path,
  httpMetricsOnly,
  stateDirectory,
}: ServerConfig): Promise<HttpToken | undefined> {
  if (!http || httpMetricsOnly) return undefined;
  return path === undefined ? ownToken(stateDirectory) : { token: await readGivenToken(path), path };
}
