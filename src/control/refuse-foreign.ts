import type { onRequestHookHandler } from 'fastify';
import { CodedError } from '../base/coded-error.js';
import { isLoopback } from '../base/loopback.js';

/**
 * Keeps web pages off what a loopback address answers without a token. A browser lets every page send simple requests
 * to any address; it adds the page's Origin. A page whose own name was made to lead to this machine (DNS rebinding) has
 * no foreign Origin, but its name is in Host.
 */
export const refuseForeign: onRequestHookHandler = ({ headers }, _reply, done) => {
  const { host = '', origin } = headers;
  if (!isLoopback(nameIn(host))) {
    const hint = 'call it by 127.0.0.1 or localhost, or send the token';
    done(new CodedError('FOREIGN_REQUEST', `the API is not called "${host}"`, hint));
  } else if (origin !== undefined && origin !== `http://${host}`) {
    const hint = 'send the token to use it from another site through a proxy';
    done(new CodedError('FOREIGN_REQUEST', `the request comes from a web page of "${origin}"`, hint));
  } else done();
};

/** The name or address in a Host header, without its port. */
function nameIn(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
