import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';
import { Server } from '../schemas/server.js';
import { Refusal } from '../schemas/shapes.js';

export function serverRoutes(api: ControlApi, { exports, describeServer }: ControlHost): void {
  api.get(
    '/v1/server',
    {
      schema: { operationId: 'getServer', summary: 'Describe the server', response: { 200: Server, default: Refusal } },
    },
    async () => ({ ...describeServer(), exports: exports.list().map(({ name }) => name) }),
  );
}
