import { Type } from '@fastify/type-provider-typebox';
import { Client } from '../../api/export.js';
import { List, Refusal } from '../../api/shapes.js';
import { CodedError } from '../../base/coded-error.js';
import type { SeenExports } from '../../export/seen-exports.js';
import type { ServedDisk } from '../../export/served-disk.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

const Params = Type.Object({ id: Type.Integer({ minimum: 1 }) });

export function clientRoutes(api: ControlApi, { log }: ControlHost): void {
  api.get(
    '/v1/clients',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'listClients',
        summary: 'List the NBD clients of all exports and views',
        response: { 200: Type.Object({ clients: List(Client) }), default: Refusal },
      },
    },
    async ({ seen }) => ({ clients: clientsOf(seen) }),
  );

  api.delete(
    '/v1/clients/:id',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'disconnectClient',
        summary: 'Disconnect a client after its requests in flight are done; it may connect again',
        params: Params,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ seen, params: { id } }, reply) => {
      const asked = await Promise.all(administered(seen).map((served) => served.disconnect(id)));
      if (!asked.includes(true)) {
        throw new CodedError('CLIENT_NOT_FOUND', `there is no client ${id}`, 'tidemark client list shows them');
      }
      log.info({ id, by: seen.who }, 'a client was disconnected on request');
      return reply.status(204).send(null);
    },
  );
}

/** The disks whose clients the caller may see and disconnect. */
function administered(seen: SeenExports): ServedDisk[] {
  return seen.listServed().filter(({ guardedAs }) => seen.may('admin', guardedAs.exportName));
}

/** In the order in which they connected. */
function clientsOf(seen: SeenExports): Client[] {
  const clients = administered(seen).flatMap((served) =>
    served.clients().map((client) => ({ ...client, export: served.name, tls: client.tls ?? 'none' })),
  );
  return clients.sort((a, b) => a.id - b.id);
}
