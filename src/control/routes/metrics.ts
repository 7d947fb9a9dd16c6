import { Type } from '@fastify/type-provider-typebox';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { answerOf, Refusal } from '../../api/shapes.js';
import type { Export } from '../../export/export.js';
import type { BitmapFacts } from '../../export/export-facts.js';
import { collectBackupMetrics } from '../backup-metrics.js';
import { collectCommandMetrics } from '../command-metrics.js';
import type { ControlHost, ServerFacts } from '../control-host.js';
import { measureHeldWrites } from '../held-writes-metric.js';
import { collectHookMetrics } from '../hook-metrics.js';
import type { ControlApi } from '../new-api.js';
import { seenSamples } from '../seen-metrics.js';
import { collectThresholdMetrics } from '../threshold-metrics.js';

export function metricsRoutes(api: ControlApi, host: ControlHost): void {
  const registry = collectMetrics(host);
  collectBackupMetrics(host, registry);
  collectCommandMetrics(host, registry);
  collectHookMetrics(host, registry);
  collectThresholdMetrics(host, registry);
  const stopMeasuring = measureHeldWrites(host.exports, registry);
  api.addHook('onClose', async () => stopMeasuring());
  api.get(
    '/metrics',
    {
      config: { right: 'nobody-needed' },
      schema: {
        operationId: 'getMetrics',
        summary: 'Get metrics in the Prometheus text format',
        response: { 200: answerOf('text/plain', 'Samples', Type.String()), default: Refusal },
      },
    },
    async ({ access, seen }, reply) => {
      const samples = await registry.metrics();
      return reply
        .type(registry.contentType)
        .send(access.mayAll('admin') ? samples : seenSamples(samples, seen, host.backups));
    },
  );
}

/** The event loop wakes up this often to measure its own delay. The default of 10 costs more than all idle clients. */
const LAG_PRECISION_MILLISECONDS = 200;

type Reading = (served: Export) => number;

/** Values are read from the exports on demand, so no counter is kept twice. */
function collectMetrics({ exports, refusals, describeServer }: ControlHost): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: LAG_PRECISION_MILLISECONDS });
  const ofMemory = (name: string, help: string, read: (memory: ServerFacts['memory']) => number) =>
    new Gauge({
      ...{ name, help, registers: [registry] },
      collect() {
        this.set(read(describeServer().memory));
      },
    });
  ofMemory(
    'tidemark_memory_used_bytes',
    'Part of the memory budget that NBD clients use',
    ({ usedBytes }) => usedBytes,
  );
  ofMemory('tidemark_memory_limit_bytes', 'Memory budget of all NBD clients', ({ limitBytes }) => limitBytes);
  ofMemory(
    'tidemark_connections_waiting_for_memory',
    'NBD clients whose requests are not read until memory is free',
    ({ waitingConnections }) => waitingConnections,
  );
  new Counter({
    name: 'tidemark_refusals_total',
    help: 'Clients refused because of TLS, tokens, rights or an unfinished handshake, or turned away afterwards',
    labelNames: ['interface', 'reason'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { over, reason, count } of refusals.counts()) this.inc({ interface: over, reason }, count);
    },
  });
  const perExport = { labelNames: ['export'], registers: [registry] };
  const gauge = (name: string, help: string, read: Reading) =>
    new Gauge({
      ...{ name, help, ...perExport },
      collect() {
        this.reset();
        for (const served of exports.list()) this.set({ export: served.name }, read(served));
      },
    });
  const counter = (name: string, help: string, read: Reading) =>
    new Counter({
      ...{ name, help, ...perExport },
      collect() {
        this.reset();
        for (const served of exports.list()) this.inc({ export: served.name }, read(served));
      },
    });
  gauge('tidemark_export_size_bytes', 'Size of the disk', ({ sizeBytes }) => sizeBytes);
  gauge('tidemark_export_connections', 'Number of connected clients', ({ clientCount }) => clientCount);
  counter('tidemark_export_requests_total', 'Requests answered', (served) => served.counters().requests);
  counter(
    'tidemark_export_failed_requests_total',
    'Requests answered with an error',
    (served) => served.counters().failedRequests,
  );
  counter('tidemark_export_read_bytes_total', 'Bytes sent to clients', (served) => served.counters().bytesRead);
  counter(
    'tidemark_export_written_bytes_total',
    'Bytes received from clients',
    (served) => served.counters().bytesWritten,
  );
  gauge(
    'tidemark_export_active_regions',
    'Regions all of which would count as dirty after a crash',
    (served) => served.facts().activeRegions,
  );
  const perBitmap = (name: string, help: string, read: (bitmap: BitmapFacts) => number) =>
    new Gauge({
      ...{ name, help, labelNames: ['export', 'bitmap'], registers: [registry] },
      collect() {
        this.reset();
        for (const served of exports.list()) {
          for (const bitmap of served.bitmapFacts()) {
            this.set({ export: served.name, bitmap: bitmap.name }, read(bitmap));
          }
        }
      },
    });
  perBitmap('tidemark_bitmap_dirty_bytes', 'Size of the dirty granules of a bitmap', ({ dirtyBytes }) => dirtyBytes);
  perBitmap('tidemark_bitmap_inconsistent', '1 when a bitmap is inconsistent, otherwise 0', ({ inconsistent }) =>
    inconsistent === undefined ? 0 : 1,
  );
  return registry;
}
