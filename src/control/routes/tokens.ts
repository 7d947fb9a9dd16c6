import { Type } from '@fastify/type-provider-typebox';
import { List, Refusal } from '../../api/shapes.js';
import { MadeToken, NewToken, Token } from '../../api/token.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

const Params = Type.Object({ token: Type.String() });

export function tokenRoutes(api: ControlApi, { tokens, log }: ControlHost): void {
  api.get(
    '/v1/tokens',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'listTokens',
        summary: 'List the tokens, without their secrets; expired ones stay in the list for 30 days',
        response: { 200: Type.Object({ tokens: List(Token) }), default: Refusal },
      },
    },
    async () => ({ tokens: tokens.list() }),
  );

  api.post(
    '/v1/tokens',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'createToken',
        summary: 'Make a token that gives rights on exports to whoever sends it',
        body: NewToken,
        response: { 201: MadeToken, default: Refusal },
      },
    },
    async ({ access, body }, reply) => {
      const { token, text } = await tokens.create(body, access.identity);
      log.info(token, 'made a token');
      return reply
        .status(201)
        .header('cache-control', 'no-store')
        .send({ ...token, token: text });
    },
  );

  api.delete(
    '/v1/tokens/:token',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'removeToken',
        summary: 'Remove a token, and those that were made with it: they are refused from now on',
        params: Params,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params, seen }, reply) => {
      const ids = await tokens.remove(params.token);
      log.info({ ids, by: seen.who }, 'removed a token, and those that were made with it');
      return reply.status(204).send(null);
    },
  );
}
