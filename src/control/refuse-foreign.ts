import type { onRequestHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';
import { isLoopback } from '../base/host-port.js';

/**
 * Keeps web pages away from the routes that a loopback address serves without a token. A browser lets any page send simple
 * requests to any address, and adds the page's Origin. With DNS rebinding, where the page's own name resolves to this
 * machine, the Origin is not foreign, but Host has the page's name.
 */
export const refuseForeign: onRequestHookHandler = ({ headers }, _reply, done) => {
  const { host = '', origin } = headers;
  if (!isLoopback(nameIn(host))) {
    const hint = 'use 127.0.0.1 or localhost, or send the token';
    done(new CodedError('FOREIGN_REQUEST', `the host "${host}" is not a name of this API`, hint));
  } else if (origin !== undefined && origin !== `http://${host}`) {
    const hint = 'to use the API from another site through a proxy, send the token';
    done(new CodedError('FOREIGN_REQUEST', `the request comes from a web page at "${origin}"`, hint));
  } else done();
};

/** The name or address in a Host header, without its port. */
function nameIn(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
