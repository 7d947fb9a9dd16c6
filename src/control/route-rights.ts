import type { FastifyInstance, onRequestHookHandler } from 'fastify';
import { Access } from '../access/access.js';
import type { Right } from '../access/rights.js';
import { assert } from '../base/assert.js';
import { SeenExports } from '../export/seen-exports.js';
import type { Authenticate } from './admission/authenticate.js';
import type { ControlHost } from './control-host.js';
import { type Reach, reachOf } from './nbd-reach.js';

/**
 * What a caller needs for a route. A right is needed on the export in the path, or on every export if the path has none;
 * of several rights, one is enough.
 */
type RouteRight = 'nobody-needed' | 'anybody' | 'checked-in-handler' | Right | readonly Right[];

declare module 'fastify' {
  interface FastifyRequest {
    /** What the caller may do. */
    access: Access;
    /** The exports that the caller may see. */
    seen: SeenExports;
    /** How the caller reaches the NBD server. */
    reach: Reach;
  }
  interface FastifyContextConfig {
    right?: RouteRight;
  }
}

/** Says who the caller of each request is. A route that does not say what right it needs cannot be added. */
export function identifyCallers(api: FastifyInstance, host: ControlHost, authenticate: Authenticate): void {
  const { exports, policy } = host;
  api.addHook('onRoute', ({ url, config }) =>
    assert(config?.right !== undefined, `${url} does not say what right it needs`),
  );
  api.decorateRequest('access');
  api.decorateRequest('seen');
  api.decorateRequest('reach');
  api.addHook('onRequest', (request, _reply, done) => {
    const identity = authenticate(request);
    request.access = new Access(policy, identity);
    request.reach = reachOf(request.raw, identity);
    request.seen = new SeenExports(exports, request.access);
    done();
  });
}

/** Refuses a request whose caller lacks the right that its route needs, before its body is read. */
export const demandRight: onRequestHookHandler = ({ is404, routeOptions, params, access, seen }, _reply, done) => {
  if (is404) return done();
  const { right } = routeOptions.config;
  assert(right !== undefined, 'every route says what right it needs');
  if (right === 'nobody-needed' || right === 'anybody' || right === 'checked-in-handler') return done();
  const anyOf = typeof right === 'string' ? [right] : right;
  const { export: exportName } = params as { readonly export?: string };
  if (exportName === undefined) access.demandAll(anyOf);
  else seen.get(exportName, anyOf);
  done();
};
