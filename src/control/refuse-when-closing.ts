import type { FastifyInstance } from 'fastify';
import { CodedError } from '../base/coded-error.js';

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
