import { Type } from '@fastify/type-provider-typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ExportDescription, NewExport, Size, UnservedExport } from '../../api/export.js';
import { List, Refusal, strict } from '../../api/shapes.js';
import type { Export } from '../../export/export.js';
import type { ControlHost } from '../control-host.js';
import { describeExport } from '../descriptions.js';
import { nbdUri } from '../nbd-reach.js';
import type { ControlApi } from '../new-api.js';
import { removeExport } from '../remove-export.js';
import { wholeNumbers } from '../request-checks.js';

const Params = Type.Object({ export: Type.String() });
type Caller = Pick<FastifyRequest, 'seen' | 'reach'>;
const MAX_DRAIN_SECONDS = 24 * 3600;

const Exports = Type.Object({
  exports: List(ExportDescription),
  unserved: List(UnservedExport, {
    description: 'Exports that were added earlier and could not be opened at the start; only for their administrators',
  }),
});

const RemovalQuery = Type.Object(
  {
    drain: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_DRAIN_SECONDS,
        description: 'Seconds to wait for clients to leave; new clients are refused meanwhile',
      }),
    ),
    force: Type.Optional(
      Type.Boolean({ description: 'Abort the active backups of the export, and disconnect its clients' }),
    ),
  },
  strict,
);

export function exportRoutes(api: ControlApi, host: ControlHost): void {
  const { exports, kept, events } = host;
  const onlooker = ({ seen, reach }: Caller) => ({
    seen,
    uri: (name: string) => nbdUri(host.describeServer().nbd, name, reach),
    originOf: (served: Export) => exports.originOf(served),
  });
  // When the server stops, removals no longer wait for clients.
  const stopping = new AbortController();
  api.addHook('preClose', (done) => {
    stopping.abort();
    done();
  });

  api.get(
    '/v1/exports',
    {
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'listExports',
        summary: 'List the exports',
        response: { 200: Exports, default: Refusal },
      },
    },
    async (request) => ({
      exports: request.seen.list().map((served) => describeExport(served, onlooker(request))),
      unserved: kept.unserved().filter(({ name }) => request.seen.may('admin', name)),
    }),
  );

  api.post(
    '/v1/exports',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'addExport',
        summary: 'Add an export',
        body: NewExport,
        response: { 201: ExportDescription, default: Refusal },
      },
    },
    async (request, reply) => {
      const { temporary = false, ...spec } = request.body;
      const keep = ({ path }: Export) => kept.keep({ ...spec, path }, request.seen.who);
      const added = await exports.add(spec, temporary ? {} : { origin: 'kept', beforeServing: keep });
      events.publish({ type: 'export-added', export: added.name, by: request.seen.who });
      return reply.status(201).send(describeExport(added, onlooker(request)));
    },
  );

  api.get(
    '/v1/exports/:export',
    {
      config: { right: 'list' },
      schema: {
        operationId: 'getExport',
        summary: 'Get an export, with its bitmaps and clients',
        params: Params,
        response: { 200: ExportDescription, default: Refusal },
      },
    },
    async (request) => describeExport(exports.get(request.params.export), onlooker(request)),
  );

  api.delete(
    '/v1/exports/:export',
    {
      preValidation: wholeNumbers('drain'),
      // The export need not be served.
      config: { right: 'checked-in-handler' },
      schema: {
        operationId: 'removeExport',
        summary: 'Remove an export; refused while clients or backups use it, unless drain or force is given',
        params: Params,
        querystring: RemovalQuery,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params, query, seen }, reply) => {
      const { drain: drainSeconds, force = false } = query;
      const { export: name } = params;
      if (seen.may('admin', name) && (await kept.forgetUnserved(name))) return reply.status(204).send(null);
      seen.get(name, ['admin']);
      const cancelled = AbortSignal.any([stopping.signal, hangUpOf(reply)]);
      await removeExport(host, name, { drainSeconds, force, by: seen.who, cancelled });
      return reply.status(204).send(null);
    },
  );

  api.post(
    '/v1/exports/:export/resize',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'resizeExport',
        summary: 'Change the size: a file grows if necessary, and the new tail is dirty in every bitmap',
        params: Params,
        body: Size,
        response: { 200: ExportDescription, default: Refusal },
      },
    },
    async (request) => {
      const served = exports.get(request.params.export);
      await served.resize(request.body.sizeBytes);
      events.publish({ type: 'export-resized', export: served.name, by: request.seen.who });
      return describeExport(served, onlooker(request));
    },
  );
}

/** The returned signal is aborted when the client hangs up before it has received the whole answer. */
function hangUpOf({ raw }: FastifyReply): AbortSignal {
  const hangUp = new AbortController();
  raw.once('close', () => {
    if (!raw.writableFinished) hangUp.abort();
  });
  return hangUp.signal;
}
