import { createHash, timingSafeEqual } from 'node:crypto';
import type { onRequestHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';

/** Routes for monitoring, which reveal no secrets and change nothing. */
const openRoutes = new Set(['/healthz', '/metrics']);

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Admits requests that carry the token. Requests for the open routes need no token, but `open` may refuse them. */
export function demandToken(token: string, open: onRequestHookHandler = (_request, _reply, done) => done()) {
  const expected = digest(`Bearer ${token}`);
  const admit: onRequestHookHandler = function (request, reply, done) {
    const given = digest(request.headers.authorization ?? '');
    if (timingSafeEqual(given, expected)) return done();
    if (openRoutes.has(request.routeOptions.url ?? '')) return open.call(this, request, reply, done);
    reply.header('www-authenticate', 'Bearer');
    done(new CodedError('UNAUTHORIZED', 'the request has no valid token', 'send Authorization: Bearer TOKEN'));
  };
  return admit;
}
