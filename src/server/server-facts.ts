import { resolve } from 'node:path';
import type { ServerFacts } from '../control/control-host.js';
import type { ServerConfig } from './config.js';
import type { NbdAddresses } from './nbd-addresses.js';
import type { NbdListener } from './nbd-listener.js';

interface FactParts extends Pick<ServerFacts, 'version' | 'persistent'> {
  readonly config: ServerConfig;
  readonly startedAt: Date;
  readonly listener: NbdListener;
  readonly addresses: NbdAddresses;
  readonly http: ServerFacts['http'];
}

/** What the control API tells of the server. */
export function serverFacts({ config, startedAt, listener, addresses, http, ...facts }: FactParts): ServerFacts {
  const { tcp, unixPath } = addresses;
  return {
    ...facts,
    pid: process.pid,
    startedAt: startedAt.toISOString(),
    stateDirectory: resolve(config.stateDirectory),
    connections: listener.connectionCount,
    memory: listener.memory,
    nbd: {
      tls: config.tls.mode,
      tcp: tcp.map(({ address, port }) => ({ host: address, port })),
      ...(unixPath !== undefined && { unix: unixPath }),
    },
    ...(http && { http }),
  };
}
