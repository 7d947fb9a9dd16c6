import { Type } from '@fastify/type-provider-typebox';
import { Refusal, strict } from '../../api/shapes.js';
import { LatencyBounds, ServerStatistics } from '../../api/statistics.js';
import { CodedError } from '../../base/coded-error.js';
import { areLatencyBounds } from '../../export/accounting/latency-bounds.js';
import type { SeenExports } from '../../export/seen-exports.js';
import type { ControlHost } from '../control-host.js';
import type { ControlApi } from '../new-api.js';

/** A list that is longer than this leaves the histograms out: to write many of them takes the event loop too long. */
const MAX_HISTOGRAMS = 100;
const MAX_CHOSEN = 50;

const Params = Type.Object({ export: Type.String() });

const Query = Type.Object(
  {
    export: Type.Optional(
      Type.Union([Type.String(), Type.Array(Type.String(), { maxItems: MAX_CHOSEN })], {
        description: 'Only these exports, with their views and clients; may be given several times',
      }),
    ),
    latency: Type.Optional(
      Type.Boolean({
        description: `false leaves out the histograms. A list with more than ${MAX_HISTOGRAMS} entries has none`,
      }),
    ),
  },
  strict,
);

export function statisticsRoutes(api: ControlApi, { exports, describeServer }: ControlHost): void {
  api.get(
    '/v1/statistics',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'getStatistics',
        summary: 'Get what clients have done with each export and view, and how long it took',
        querystring: Query,
        response: { 200: ServerStatistics, default: Refusal },
      },
    },
    async ({ seen, query }) => {
      const { export: chosen, latency = true } = query;
      const startedAt = Date.parse(describeServer().startedAt);
      const now = Date.now();
      return {
        at: new Date(now).toISOString(),
        uptimeSeconds: Math.max(0, now - startedAt) / 1000,
        ...statisticsOf(seen, chosen === undefined ? undefined : new Set([chosen].flat()), latency),
      };
    },
  );

  api.put(
    '/v1/exports/:export/latency-bounds',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'setLatencyBounds',
        summary: 'Begin new latency histograms with these bounds, for the export and its clients, until it is removed',
        params: Params,
        body: LatencyBounds,
        response: { 200: LatencyBounds, default: Refusal },
      },
    },
    async ({ params, body }) => {
      const { boundsSeconds } = body;
      const bounds = boundsSeconds.map((seconds) => seconds * 1000);
      if (!areLatencyBounds(bounds)) {
        const hint = 'give the times in seconds, each above the one before';
        throw new CodedError('BAD_REQUEST', `the bounds ${boundsSeconds.join(', ')} do not rise`, hint);
      }
      exports.get(params.export).useLatencyBounds(bounds);
      return { boundsSeconds };
    },
  );
}

/** `chosen`: names of exports; undefined: all. */
function statisticsOf(
  seen: SeenExports,
  chosen: ReadonlySet<string> | undefined,
  latency: boolean,
): Pick<ServerStatistics, 'exports' | 'views' | 'clients'> {
  const isChosen = (name: string) => chosen?.has(name) ?? true;
  const exports = seen.list().filter(({ name }) => isChosen(name) && seen.maySeeBitmaps(name));
  const administered = seen
    .listServed()
    .filter(({ guardedAs: { exportName } }) => isChosen(exportName) && seen.may('admin', exportName));
  const views = administered.filter(({ name, guardedAs }) => name !== guardedAs.exportName);
  const clientCount = administered.reduce((sum, served) => sum + served.clientCount, 0);
  const withLatency = (count: number) => latency && count <= MAX_HISTOGRAMS;
  return {
    exports: exports.map((served) => ({
      name: served.name,
      connections: served.clientCount,
      ...served.statistics(withLatency(exports.length)),
    })),
    views: views.map((served) => ({
      name: served.name,
      export: served.guardedAs.exportName,
      connections: served.clientCount,
      ...served.statistics(withLatency(views.length)),
    })),
    clients: administered.flatMap((served) =>
      served.clientStatistics(withLatency(clientCount)).map(({ client: { id, client, tls }, statistics }) => ({
        ...{ id, client, export: served.name, tls: tls ?? 'none' },
        ...statistics,
      })),
    ),
  };
}
