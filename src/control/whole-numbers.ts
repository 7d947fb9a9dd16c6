import type { preValidationHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';

/** Refuses those parameters of a query with a fraction, which the validation would cut off. */
export function wholeNumbers(...names: readonly string[]): preValidationHookHandler {
  return ({ query }, _reply, done) => {
    const given = query as Record<string, unknown>;
    const broken = names.find((name) => given[name] !== undefined && !/^-?\d+$/.test(String(given[name])));
    if (broken) done(new CodedError('BAD_REQUEST', `querystring.${broken} must be integer`, 'see /openapi.json'));
    else done();
  };
}
