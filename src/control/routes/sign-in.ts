import type { FastifyRequest } from 'fastify';
import { Access } from '../../access/access.js';
import { apiApplicant } from '../../access/refusals.js';
import { Refusal } from '../../api/shapes.js';
import { NewSignInLink, SignIn, SignInLink } from '../../api/sign-in.js';
import { MadeToken } from '../../api/token.js';
import { CodedError } from '../../base/coded-error.js';
import { formatHostPort, reachableHost } from '../../base/host-port.js';
import { crossesInTheClear } from '../admission/authenticate.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

const DEFAULT_LINK_SECONDS = 600;
/** How long somebody stays signed in on the page. */
const SESSION_SECONDS = 12 * 3600;

export function signInRoutes(api: ControlApi, host: ControlHost): void {
  const { signInCodes, tokens, policy, log } = host;

  api.post(
    '/v1/sign-in-links',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'makeSignInLink',
        summary: 'Make a link that signs in to the page once, with the rights of whoever asks for it',
        body: NewSignInLink,
        response: { 201: SignInLink, default: Refusal },
      },
    },
    async ({ access, reach, body }, reply) => {
      const { ttlSeconds = DEFAULT_LINK_SECONDS } = body;
      const made = signInCodes.issue(access.identity, ttlSeconds);
      const page = pageUrl(host.describeServer().http, reach.called?.name);
      log.info({ expiresAt: made.expiresAt }, 'made a link that signs in to the page once');
      return reply
        .status(201)
        .header('cache-control', 'no-store')
        .send({ ...made, ...(page !== undefined && { url: `${page}#sign-in=${made.code}` }) });
    },
  );

  api.post(
    '/v1/sign-in',
    {
      config: { right: 'nobody-needed' },
      schema: {
        operationId: 'signIn',
        summary: 'Exchange the code of a sign-in link for a token',
        body: SignIn,
        response: { 201: MadeToken, default: Refusal },
      },
    },
    async (request, reply) => {
      if (crossesInTheClear(request.access.identity, policy)) {
        throw refuse(host, request, 'the code came over plain HTTP from another machine', 'use https://');
      }
      const maker = signInCodes.redeem(request.body.code);
      if (!maker || !new Access(policy, maker).mayAll('admin')) {
        const hint = 'a link works once and for a short time: make another one with tidemark page';
        throw refuse(host, request, 'the sign-in link is not valid', hint);
      }
      const wanted = { rights: ['admin' as const], name: 'page', ttlSeconds: SESSION_SECONDS };
      const { token, text } = await tokens.createPassing(wanted, maker);
      log.info(token, 'somebody signed in to the page by a link');
      return reply
        .status(201)
        .header('cache-control', 'no-store')
        .send({ ...token, token: text });
    },
  );
}

/** Where the page is for somebody who calls the machine by this name. Undefined without HTTP, or where it has no page. */
function pageUrl(http: ReturnType<ControlHost['describeServer']>['http'], calledName: string | undefined) {
  if (!http || http.metricsOnly) return undefined;
  const host = calledName ?? reachableHost(http.host);
  return `${http.tls ? 'https' : 'http'}://${formatHostPort({ host, port: http.port })}/`;
}

function refuse({ refusals }: ControlHost, request: FastifyRequest, reason: string, hint: string): CodedError {
  const client = request.raw.socket.remoteAddress ?? 'unix';
  refusals.note(apiApplicant(client), 'token', { reason }, `refused to sign somebody in: ${reason}`);
  return new CodedError('UNAUTHORIZED', reason, hint);
}
