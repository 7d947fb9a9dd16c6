import { Type } from '@fastify/type-provider-typebox';
import { Refusal } from '../../api/shapes.js';
import { HeldWrites, Transaction } from '../../api/transaction.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';
import { runActions } from '../run-actions.js';

export function transactionRoutes(api: ControlApi, { events }: ControlHost): void {
  api.post(
    '/v1/transactions',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'runTransaction',
        summary: 'Apply all actions at one instant with respect to writes, or none',
        body: Transaction,
        response: { 200: Type.Object({ heldWrites: HeldWrites }), default: Refusal },
      },
    },
    async ({ seen, body }) => ({ heldWrites: await runActions({ exports: seen, events, by: seen.who }, body.actions) }),
  );
}
