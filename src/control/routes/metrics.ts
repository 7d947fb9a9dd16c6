import { Type } from '@fastify/type-provider-typebox';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ControlApi } from '../control-api.js';
import type { ControlHost } from '../control-host.js';
import { answerOf, Refusal } from '../schemas.js';

export function metricsRoutes(api: ControlApi, host: ControlHost): void {
  const registry = collectMetrics(host);
  api.get(
    '/metrics',
    {
      schema: {
        operationId: 'getMetrics',
        summary: 'Metrics in the Prometheus text format',
        response: { 200: answerOf('text/plain', 'Samples', Type.String()), default: Refusal },
      },
    },
    async (_request, reply) => reply.type(registry.contentType).send(await registry.metrics()),
  );
}

/** Values are read off the exports when they are asked for, so nothing is counted twice. */
function collectMetrics({ exports }: ControlHost): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const perExport = (name: string, help: string, value: (served: ReturnType<typeof exports.list>[number]) => number) =>
    new Gauge({
      name: `tidemark_${name}`,
      help,
      labelNames: ['export'],
      registers: [registry],
      collect() {
        this.reset();
        for (const served of exports.list()) this.set({ export: served.name }, value(served));
      },
    });
  perExport('export_size_bytes', 'Size of the disk', ({ sizeBytes }) => sizeBytes);
  perExport('export_connections', 'Clients connected', ({ connections }) => connections.size);
  perExport('export_requests_total', 'Requests answered', (served) => served.counters().requests);
  perExport(
    'export_failed_requests_total',
    'Requests answered with an error',
    (served) => served.counters().failedRequests,
  );
  perExport('export_read_bytes_total', 'Bytes sent to clients', (served) => served.counters().bytesRead);
  perExport('export_written_bytes_total', 'Bytes taken from clients', (served) => served.counters().bytesWritten);
  perExport(
    'export_active_regions',
    'Regions that would count as dirty after a crash',
    ({ persistence }) => persistence?.intents.activeRegions ?? 0,
  );
  new Gauge({
    name: 'tidemark_bitmap_dirty_bytes',
    help: 'Bytes written since the base of a bitmap',
    labelNames: ['export', 'bitmap'],
    registers: [registry],
    collect() {
      this.reset();
      for (const served of exports.list()) {
        for (const { name, dirtyBytes } of served.bitmaps.list()) {
          this.set({ export: served.name, bitmap: name }, dirtyBytes);
        }
      }
    },
  });
  return registry;
}
