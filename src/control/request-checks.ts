import type { FastifyInstance, preValidationHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';

/** A transaction of 1000 merges with one source each has about 6000 values. Validating that many takes a few milliseconds. */
const MAX_VALUES = 10_000;
const COMMA = 0x2c;

/** Accepts only JSON bodies, and only so many values that validating them does not block the event loop for long. */
export function takeJsonBodies(api: FastifyInstance): void {
  const parse = api.getDefaultJsonParser('error', 'error');
  api.removeAllContentTypeParsers();
  api.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (countCommas(body) < MAX_VALUES) return parse(request, body.toString(), done);
    const hint = 'split the request into several';
    done(new CodedError('BAD_REQUEST', `the body has more than ${MAX_VALUES} values`, hint));
  });
}

function countCommas(body: Buffer): number {
  let count = 0;
  for (let at = body.indexOf(COMMA); at >= 0; at = body.indexOf(COMMA, at + 1)) count++;
  return count;
}

/** Refuses query parameters with a fraction, because validation would silently truncate them. */
export function wholeNumbers(...names: readonly string[]): preValidationHookHandler {
  return ({ query }, _reply, done) => {
    const given = query as Record<string, unknown>;
    const broken = names.find((name) => given[name] !== undefined && !/^-?\d+$/.test(String(given[name])));
    if (broken) done(new CodedError('BAD_REQUEST', `querystring.${broken} must be integer`, 'see /openapi.json'));
    else done();
  };
}

/** Once the API begins to close, refuses new requests, and closes each connection after the answer in flight. */
export function refuseWhenClosing(api: FastifyInstance): void {
  let closing = false;
  api.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  api.addHook('onRequest', (_request, _reply, done) => {
    if (closing) done(new CodedError('SHUTTING_DOWN', 'the server is stopping', 'try again when it is back'));
    else done();
  });
  api.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });
}
