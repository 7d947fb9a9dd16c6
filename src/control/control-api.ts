import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { CodedError } from '../base/coded-error.js';
import { type Authenticate, trustCaller } from './admission/authenticate.js';
import { forgiveCallers, noteRefusals } from './admission/note-refusals.js';
import type { ControlHost } from './control-host.js';
import type { AnswersDue } from './http-server.js';
import { capConnections, type HttpLimits, httpLimits, hurryReaders } from './http-server.js';
import { watchMethods } from './method-not-allowed.js';
import { type ControlApi, newApi } from './new-api.js';
import { problemHandler, sendProblem } from './problem.js';
import { refuseWhenClosing, takeJsonBodies } from './request-checks.js';
import { demandRight, identifyCallers } from './route-rights.js';
import { backupRoutes } from './routes/backups.js';
import { bitmapRoutes } from './routes/bitmaps.js';
import { clientRoutes } from './routes/clients.js';
import { eventRoutes } from './routes/events.js';
import { exportRoutes } from './routes/exports.js';
import { mapRoutes } from './routes/map.js';
import { metricsRoutes } from './routes/metrics.js';
import { pageRoutes } from './routes/page.js';
import { reloadRoutes } from './routes/reload.js';
import { healthRoutes, serverRoutes } from './routes/server.js';
import { signInRoutes } from './routes/sign-in.js';
import { statisticsRoutes } from './routes/statistics.js';
import { thresholdRoutes } from './routes/thresholds.js';
import { tokenRoutes } from './routes/tokens.js';
import { transactionRoutes } from './routes/transactions.js';

/** The version of the API, not of the program. */
const API_VERSION = '1.0.0';
export interface ApiOptions {
  /** Says who a caller is. Without it, callers may do everything. */
  readonly authenticate?: Authenticate;
  /** Keeps track of the requests that have no answer yet. */
  readonly answersDue?: AnswersDue;
  readonly limits?: HttpLimits | undefined;
  /** Serves only the routes for health and metrics. */
  readonly metricsOnly?: boolean;
}

const allRoutes = [
  serverRoutes,
  reloadRoutes,
  healthRoutes,
  exportRoutes,
  statisticsRoutes,
  bitmapRoutes,
  mapRoutes,
  transactionRoutes,
  backupRoutes,
  clientRoutes,
  tokenRoutes,
  pageRoutes,
  signInRoutes,
  eventRoutes,
  thresholdRoutes,
  metricsRoutes,
];

/** Builds the HTTP API of a server. */
export async function buildControlApi(host: ControlHost, options: ApiOptions = {}): Promise<FastifyInstance> {
  const { authenticate = trustCaller, answersDue, limits = httpLimits, metricsOnly = false } = options;
  const api = newApi(host.log, limits);
  capConnections(api.server, limits, host.log);
  await api.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'tidemark', description: 'The control API of a tidemark server', version: API_VERSION },
    },
  });
  api.setErrorHandler(problemHandler(host.log));
  const methodsOf = watchMethods(api as unknown as FastifyInstance);
  api.setNotFoundHandler(({ method, url }, reply) => sendProblem(reply, noRoute(reply, method, url, methodsOf(url))));
  takeJsonBodies(api as unknown as FastifyInstance);
  refuseWhenClosing(api as unknown as FastifyInstance);
  api.addHook('onSend', hurryReaders(limits));
  identifyCallers(api as unknown as FastifyInstance, host, authenticate);
  api.addHook('onRequest', demandRight);
  api.addHook('onError', noteRefusals(host.exports, host.refusals));
  api.addHook('onResponse', forgiveCallers(host.refusals));
  if (answersDue) api.addHook('preHandler', answersDue.watch);
  for (const routes of metricsOnly ? [healthRoutes, metricsRoutes] : allRoutes) {
    api.register(async (scope) => routes(scope as unknown as ControlApi, host));
  }
  if (!metricsOnly)
    api.get('/openapi.json', { config: { right: 'anybody' }, schema: { hide: true } }, () => api.swagger());
  return api as unknown as FastifyInstance;
}

function noRoute(reply: FastifyReply, method: string, url: string, methods: readonly string[]): CodedError {
  if (methods.length === 0) return new CodedError('NOT_FOUND', `there is no ${method} ${url}`, 'see /openapi.json');
  const allowed = methods.join(', ');
  reply.header('allow', allowed);
  return new CodedError('METHOD_NOT_ALLOWED', `${url} does not support ${method}`, `use ${allowed}`);
}
