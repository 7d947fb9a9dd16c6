import type { FastifyInstance } from 'fastify';
import { onTestFinished } from 'vitest';
import { Policy } from '../../src/access/access.js';
import { AccessRules } from '../../src/access/access-rules.js';
import { Refusals } from '../../src/access/refusals.js';
import { Backups } from '../../src/backup/backups.js';
import { ScratchDirectory } from '../../src/backup/scratch-directory.js';
import { type Log, silentLog } from '../../src/base/log.js';
import { authenticateOverTcp } from '../../src/control/admission/authenticate.js';
import { SignInCodes } from '../../src/control/admission/sign-in-codes.js';
import { TokenStore } from '../../src/control/admission/token-store.js';
import { buildControlApi } from '../../src/control/control-api.js';
import type { ControlHost, ServerFacts } from '../../src/control/control-host.js';
import { KeptExports } from '../../src/export/kept-exports.js';
import type { ExportRegistry } from '../../src/export/registry.js';
import { loadPosix } from '../../src/posix/posix.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { EventHistory } from '../../src/watch/event-history.js';
import { Thresholds, type ThresholdsOptions } from '../../src/watch/thresholds/thresholds.js';
import { scratchFolder } from './scratch-folder.js';

interface TestedApi {
  readonly api: FastifyInstance;
  readonly events: EventFeed;
  /** Makes a request, with a JSON body if one is given. */
  ask(method: 'GET' | 'POST' | 'DELETE' | 'PUT', url: string, body?: object): Promise<Answer>;
}

export interface Answer {
  readonly status: number;
  readonly mediaType: string | undefined;
  readonly text: string;
  /** The body as JSON; undefined if it is empty. */
  readonly document: unknown;
}

/** Facts about the server, which these tests do not have. */
export const serverFacts: ServerFacts = {
  version: '1.2.3',
  pid: 4711,
  startedAt: '2025-01-02T03:04:05.678Z',
  stateDirectory: '/state',
  persistent: false,
  connections: 0,
  memory: { usedBytes: 0, limitBytes: 2 ** 30, waitingConnections: 0 },
  nbd: { tls: 'none', tcp: [{ host: '127.0.0.1', port: 10809 }] },
};

/** Tokens that are kept in memory; there are none yet. */
export function noTokens(): TokenStore {
  return new TokenStore([], async () => {});
}

/** No thresholds yet; those that are added are in memory. */
export function thresholdsOver(
  parts: Pick<ThresholdsOptions, 'exports' | 'backups' | 'events' | 'history'>,
): Thresholds {
  const places = { state: '/state', scratch: '/scratch' };
  return new Thresholds({ configured: [], added: [], save: async () => {}, places, ...parts });
}

/** A host of the control API with these exports. */
export async function controlHostOver(exports: ExportRegistry, log: Log = silentLog): Promise<ControlHost> {
  const events = new EventFeed();
  const history = await EventHistory.open(undefined, log);
  history.follow(events);
  const scratch = new ScratchDirectory(scratchFolder(), { posix: loadPosix(), log });
  const backups = await Backups.open({
    exports,
    store: undefined,
    scratch,
    log,
    publish: events.publish.bind(events),
  });
  onTestFinished(() => backups.close());
  return {
    exports,
    kept: new KeptExports(),
    policy: new Policy(new AccessRules([])),
    backups,
    events,
    history,
    hooks: { counts: () => [] },
    thresholds: thresholdsOver({ exports, backups, events, history }),
    tokens: noTokens(),
    signInCodes: new SignInCodes(),
    refusals: new Refusals(log),
    log,
    reload: async () => ({ applied: [], notApplied: [] }),
    describeServer: () => serverFacts,
  };
}

/** The control API for some exports, without a socket, until the end of the test. */
export async function controlApiOver(exports: ExportRegistry, options: { token?: string; log?: Log } = {}) {
  return controlApiOf(await controlHostOver(exports, options.log), options.token);
}

/** The same with a host that the test provides. */
export async function controlApiOf(host: ControlHost, token?: string) {
  const { tokens, policy, refusals } = host;
  const overTcp = (current: string) =>
    authenticateOverTcp({
      operatorToken: { current },
      tokens,
      policy,
      refusals,
      proofOf: () => undefined,
      isLoopback: true,
    });
  const api = await buildControlApi(host, token === undefined ? {} : { authenticate: overTcp(token) });
  onTestFinished(() => api.close());
  const ask: TestedApi['ask'] = async (method, url, body) => {
    const { statusCode, headers, body: text } = await api.inject({ method, url, ...(body && { payload: body }) });
    const mediaType = headers['content-type']?.toString().split(';')[0];
    const isJson = mediaType?.endsWith('json') && text !== '';
    return { status: statusCode, mediaType, text, document: isJson ? JSON.parse(text) : undefined };
  };
  return { api, events: host.events, ask } satisfies TestedApi;
}
