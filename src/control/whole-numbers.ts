import type { preValidationHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';

/** Refuses query parameters with a fraction, because validation would silently truncate them. */
export function wholeNumbers(...names: readonly string[]): preValidationHookHandler {
  return ({ query }, _reply, done) => {
    const given = query as Record<string, unknown>;
    const broken = names.find((name) => given[name] !== undefined && !/^-?\d+$/.test(String(given[name])));
    if (broken) done(new CodedError('BAD_REQUEST', `querystring.${broken} must be integer`, 'see /openapi.json'));
    else done();
  };
}
