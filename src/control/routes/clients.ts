import { Type } from '@fastify/type-provider-typebox';
import { Client } from '../../api/export.js';
import { List, Refusal } from '../../api/shapes.js';
import { CodedError } from '../../base/coded-error.js';
import type { ExportRegistry } from '../../export/registry.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

const Params = Type.Object({ id: Type.Integer({ minimum: 1 }) });

export function clientRoutes(api: ControlApi, { exports }: ControlHost): void {
  api.get(
    '/v1/clients',
    {
      schema: {
        operationId: 'listClients',
        summary: 'List the NBD clients of all exports and views',
        response: { 200: Type.Object({ clients: List(Client) }), default: Refusal },
      },
    },
    async () => ({ clients: clientsOf(exports) }),
  );

  api.delete(
    '/v1/clients/:id',
    {
      schema: {
        operationId: 'disconnectClient',
        summary: 'Disconnect a client after its requests in flight are done; it may connect again',
        params: Params,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params: { id } }, reply) => {
      const asked = await Promise.all(exports.listServed().map((served) => served.disconnect(id)));
      if (!asked.includes(true)) {
        throw new CodedError('CLIENT_NOT_FOUND', `there is no client ${id}`, 'tidemark client list shows them');
      }
      return reply.status(204).send(null);
    },
  );
}

/** In the order in which they connected. */
function clientsOf(exports: ExportRegistry): Client[] {
  const clients = exports
    .listServed()
    .flatMap((served) => served.clients().map((client) => ({ ...client, export: served.name, tls: 'none' as const })));
  return clients.sort((a, b) => a.id - b.id);
}
