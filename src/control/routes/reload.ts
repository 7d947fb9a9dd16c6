import { ReloadReport } from '../../api/reload.js';
import { Refusal } from '../../api/shapes.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

export function reloadRoutes(api: ControlApi, { reload }: ControlHost): void {
  api.post(
    '/v1/reload',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'reload',
        summary: 'Read the configuration file, certificates and keys again, and apply what can be applied',
        response: { 200: ReloadReport, default: Refusal },
      },
    },
    async ({ seen }) => reload(seen.who),
  );
}
