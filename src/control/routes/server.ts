import { Type } from '@fastify/type-provider-typebox';
import { Server } from '../../api/server.js';
import { Refusal } from '../../api/shapes.js';
import type { ControlHost, ServerFacts } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

export function serverRoutes(api: ControlApi, { describeServer }: ControlHost): void {
  api.get(
    '/v1/server',
    {
      config: { right: 'anybody' },
      schema: { operationId: 'getServer', summary: 'Describe the server', response: { 200: Server, default: Refusal } },
    },
    async ({ access, seen }) => {
      const exports = seen.list().map(({ name }) => name);
      return { ...(access.mayAll('admin') ? describeServer() : publicFacts(describeServer())), exports };
    },
  );
}

export function healthRoutes(api: ControlApi): void {
  api.get(
    '/healthz',
    {
      config: { right: 'nobody-needed' },
      schema: {
        operationId: 'getHealth',
        summary: 'Check that the server is running',
        response: { 200: Type.Object({ status: Type.Literal('ok') }), default: Refusal },
      },
    },
    async () => ({ status: 'ok' as const }),
  );
}

/** Without what only concerns those who run the server: its places on this machine, its process, and what all clients do. */
function publicFacts(all: ServerFacts) {
  const { stateDirectory: _places, pid: _process, connections: _clients, memory: _use, nbd, http, ...facts } = all;
  const publicNbd = { tcp: nbd.tcp, tls: nbd.tls };
  if (!http) return { ...facts, nbd: publicNbd };
  const { tokenFile: _place, ...publicHttp } = http;
  return { ...facts, nbd: publicNbd, http: publicHttp };
}
