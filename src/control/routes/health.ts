import { Type } from '@fastify/type-provider-typebox';
import { Refusal } from '../../api/shapes.js';
import type { ControlApi } from '../new-api.js';

export function healthRoutes(api: ControlApi): void {
  api.get(
    '/healthz',
    {
      schema: {
        operationId: 'getHealth',
        summary: 'Check that the server is running',
        response: { 200: Type.Object({ status: Type.Literal('ok') }), default: Refusal },
      },
    },
    async () => ({ status: 'ok' as const }),
  );
}
