import { createHash, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import type { Policy } from '../../access/access.js';
import { type Identity, isLocal, isProven, normalAddress, operator } from '../../access/identity.js';
import { apiApplicant, type Refusals } from '../../access/refusals.js';
import { CodedError } from '../../base/coded-error.js';
import type { TlsProof } from '../../tls/door.js';
import { refuseForeign } from './foreign-request.js';
import type { TokenStore } from './token-store.js';

/** Says who sent a request. @throws CodedError UNAUTHORIZED, FOREIGN_REQUEST */
export type Authenticate = (request: FastifyRequest) => Identity;

/** Whoever can connect to the control socket may do everything. */
export const trustCaller: Authenticate = () => operator;

interface TcpTerms {
  /** Whoever has it may do everything. A reload replaces it. */
  readonly operatorToken: { readonly current: string };
  readonly tokens: TokenStore;
  readonly policy: Policy;
  readonly refusals: Refusals;
  /** What the client on a connection has proven with TLS. Undefined: it does not use TLS. */
  readonly proofOf: (socket: Socket) => TlsProof | undefined;
  /** Whether the server listens on a loopback address, which has only a few names. */
  readonly isLoopback: boolean;
}

const HOW_TO_PROVE =
  'send Authorization: Bearer TOKEN, or a client certificate or a key; tidemark takes them from --token-file, ' +
  '--tls-certificates and --tls-psk';

/**
 * Authenticates requests over TCP. A token counts more than a certificate, because the caller chose it for this request: if
 * it is wrong, nothing else is tried. To come from this machine proves nothing, because all its users can do that.
 */
export function authenticateOverTcp(terms: TcpTerms): Authenticate {
  const byToken = tokenReader(terms);
  return (request) => {
    const { headers, raw, routeOptions } = request;
    const proof = terms.proofOf(raw.socket);
    const address = normalAddress(raw.socket.remoteAddress ?? '');
    const anybody: Identity = { over: 'http', from: { kind: 'tcp', address }, encrypted: proof !== undefined };
    if (headers.authorization !== undefined) return byToken(anybody, headers.authorization);
    const caller: Identity = { ...anybody, certificate: proof?.certificate, psk: proof?.psk };
    const isKnown = isProven(caller);
    if (!isKnown && routeOptions.config?.right !== 'nobody-needed') {
      const reason = 'the client proved no identity';
      terms.refusals.note(apiApplicant(address), 'token', { reason }, `refused a request: ${reason}`);
      throw unauthorized('the request has no valid token', HOW_TO_PROVE);
    }
    refuseForeign(headers, { isEncrypted: caller.encrypted, hasFewNames: hasFewNames(caller, terms), isKnown });
    // What monitoring on this machine may read does not depend on rights.
    return !isKnown && isLocal(caller) ? operator : caller;
  };
}

/** For an address that serves only what anybody may see, except web pages that reach it from this machine. */
export function authenticateNobody(terms: Pick<TcpTerms, 'proofOf' | 'isLoopback'>): Authenticate {
  return ({ headers, raw: { socket } }) => {
    const isEncrypted = terms.proofOf(socket) !== undefined;
    const address = normalAddress(socket.remoteAddress ?? '');
    const caller: Identity = { over: 'http', from: { kind: 'tcp', address }, encrypted: isEncrypted };
    refuseForeign(headers, { isEncrypted, hasFewNames: hasFewNames(caller, terms), isKnown: false });
    return operator;
  };
}

/**
 * An address of all interfaces has many names, but only a few from this machine. With TLS a certificate may have more of
 * them, and the browser of a page with another name does not accept it.
 */
function hasFewNames(caller: Identity, { isLoopback }: Pick<TcpTerms, 'isLoopback'>): boolean {
  return isLoopback || (isLocal(caller) && !caller.encrypted);
}

type TokenReader = (caller: Identity, authorization: string) => Identity;

function tokenReader({ operatorToken, tokens, policy, refusals }: TcpTerms): TokenReader {
  return (caller, authorization) => {
    const refuse = (reason: string, message: string, hint: string): never => {
      const client = caller.from.kind === 'tcp' ? caller.from.address : '';
      refusals.note(apiApplicant(client), 'token', { reason }, `refused a request: ${reason}`);
      throw unauthorized(message, hint);
    };
    if (crossesInTheClear(caller, policy)) {
      const reason = 'the token came over plain HTTP from another machine';
      return refuse(reason, reason, 'use https://, and replace the token, which the network could read');
    }
    if (timingSafeEqual(digest(authorization), digest(`Bearer ${operatorToken.current}`))) return operator;
    const found = tokens.find(authorization.replace(/^Bearer /, ''));
    if ('token' in found) return { ...caller, token: found.token };
    return refuse(found.refused, 'the request has no valid token', HOW_TO_PROVE);
  };
}

/** Whether the network between this machine and the caller could read a secret of the request. */
export function crossesInTheClear(caller: Identity, policy: Policy): boolean {
  return !caller.encrypted && !isLocal(caller) && !policy.current.trustsNetworkOf?.(caller);
}

function unauthorized(message: string, hint: string): CodedError {
  return new CodedError('UNAUTHORIZED', message, hint);
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
