import { createHash, timingSafeEqual } from 'node:crypto';
import type { onRequestHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';

const digest = (text: string) => createHash('sha256').update(text).digest();

/** Lets only requests through that carry the token. */
export function demandToken(token: string): onRequestHookHandler {
  const expected = digest(`Bearer ${token}`);
  return (request, reply, done) => {
    const given = digest(request.headers.authorization ?? '');
    if (timingSafeEqual(given, expected)) return done();
    reply.header('www-authenticate', 'Bearer');
    done(new CodedError('UNAUTHORIZED', 'the request has no valid token', 'send Authorization: Bearer TOKEN'));
  };
}
