import { Type } from '@fastify/type-provider-typebox';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';
import { runActions } from '../run-actions.js';
import { Refusal } from '../schemas/shapes.js';
import { HeldWrites, Transaction } from '../schemas/transaction.js';

export function transactionRoutes(api: ControlApi, host: ControlHost): void {
  api.post(
    '/v1/transactions',
    {
      schema: {
        operationId: 'runTransaction',
        summary: 'Apply all actions at one instant with respect to writes, or none',
        body: Transaction,
        response: { 200: Type.Object({ heldWrites: HeldWrites }), default: Refusal },
      },
    },
    async ({ body }) => ({ heldWrites: await runActions(host, body.actions) }),
  );
}
