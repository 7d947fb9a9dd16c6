import type { FastifyInstance } from 'fastify';
import { CodedError } from '../base/coded-error.js';

/** From when the API begins to close, refuses new requests, and hangs up behind the answer to each that is in flight. */
export function refuseWhenClosing(api: FastifyInstance): void {
  let closing = false;
  api.addHook('preClose', (done) => {
    closing = true;
    done();
  });
  api.addHook('onRequest', (_request, _reply, done) => {
    if (closing) done(new CodedError('SHUTTING_DOWN', 'the server is stopping', 'ask again once it is back'));
    else done();
  });
  api.addHook('onSend', (_request, reply, _payload, done) => {
    if (closing) reply.header('connection', 'close');
    done();
  });
}
