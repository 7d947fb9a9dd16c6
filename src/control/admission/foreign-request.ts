import type { IncomingHttpHeaders } from 'node:http';
import { CodedError } from '../../base/coded-error.js';
import { isLoopback } from '../../base/host-port.js';

interface Circumstances {
  readonly isEncrypted: boolean;
  /** Whether the caller can use only the few names of loopback addresses. */
  readonly hasFewNames: boolean;
  /** Whether the caller has proved who it is, by a certificate or a key. */
  readonly isKnown: boolean;
}

/**
 * Keeps web pages away from what a browser may do without a token. A browser lets any page send simple requests to any
 * address, with the user's certificate, and adds the page's Origin. With DNS rebinding, where the page's own name resolves
 * to this machine, the Origin is not foreign, but Host has the page's name; with TLS, the browser notices that itself.
 * @throws CodedError FOREIGN_REQUEST
 */
export function refuseForeign({ host = '', origin }: IncomingHttpHeaders, circumstances: Circumstances): void {
  const { isEncrypted, hasFewNames, isKnown } = circumstances;
  if (hasFewNames && !isLoopback(nameIn(host))) {
    const hint = 'use 127.0.0.1 or localhost, or send the token';
    throw new CodedError('FOREIGN_REQUEST', `the host "${host}" is not a name of this API`, hint);
  }
  // Elsewhere a page learns nothing, because the browser does not show it the answer.
  if (!hasFewNames && !isKnown) return;
  if (origin !== undefined && origin !== `${isEncrypted ? 'https' : 'http'}://${host}`) {
    const hint = 'to use the API from another site through a proxy, send the token';
    throw new CodedError('FOREIGN_REQUEST', `the request comes from a web page at "${origin}"`, hint);
  }
}

/** The name or address in a Host header, without its port. */
function nameIn(host: string): string {
  return host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}
