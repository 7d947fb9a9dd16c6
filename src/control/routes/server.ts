import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';
import { Refusal, Server } from '../schemas.js';

export function serverRoutes(api: ControlApi, { exports, describeServer }: ControlHost): void {
  api.get(
    '/v1/server',
    { schema: { operationId: 'getServer', summary: 'The server', response: { 200: Server, default: Refusal } } },
    async () => ({ ...describeServer(), exports: exports.list().map(({ name }) => name) }),
  );
}
