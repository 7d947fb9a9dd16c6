import { Type } from '@fastify/type-provider-typebox';
import type { ControlApi } from '../control-api.js';
import type { ControlHost } from '../control-host.js';
import { describeExport } from '../descriptions.js';
import { ExportDescription, NewExport, Refusal, Size } from '../schemas.js';

const strict = { additionalProperties: false };
const Params = Type.Object({ export: Type.String() });

export function exportRoutes(api: ControlApi, { exports, backups, events }: ControlHost): void {
  api.get(
    '/v1/exports',
    {
      schema: {
        operationId: 'listExports',
        summary: 'All exports',
        response: { 200: Type.Object({ exports: Type.Array(ExportDescription) }), default: Refusal },
      },
    },
    async () => ({ exports: exports.list().map(describeExport) }),
  );

  api.post(
    '/v1/exports',
    {
      schema: {
        operationId: 'addExport',
        summary: 'Serve another disk',
        body: NewExport,
        response: { 201: ExportDescription, default: Refusal },
      },
    },
    async ({ body }, reply) => {
      const added = await exports.add(body);
      events.publish({ type: 'export-added', export: added.name });
      return reply.status(201).send(describeExport(added));
    },
  );

  api.get(
    '/v1/exports/:export',
    {
      schema: {
        operationId: 'getExport',
        summary: 'One export, with its bitmaps and clients',
        params: Params,
        response: { 200: ExportDescription, default: Refusal },
      },
    },
    async ({ params }) => describeExport(exports.get(params.export)),
  );

  api.delete(
    '/v1/exports/:export',
    {
      schema: {
        operationId: 'removeExport',
        summary: 'Serve it no longer: no new clients, then those there are finish, then the disk is closed',
        params: Params,
        querystring: Type.Object(
          { force: Type.Optional(Type.Boolean({ description: 'Aborts the backups that are under way on it' })) },
          strict,
        ),
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params, query }, reply) => {
      const done = await backups.leave(params.export, query.force ?? false);
      await exports.remove(params.export).finally(() => {
        done();
        // It is gone, even if its disk could not be flushed.
        events.publish({ type: 'export-removed', export: params.export });
      });
      return reply.status(204).send(null);
    },
  );

  api.post(
    '/v1/exports/:export/resize',
    {
      schema: {
        operationId: 'resizeExport',
        summary: 'Serve another size: a file grows if need be, and the new tail is dirty in every bitmap',
        params: Params,
        body: Size,
        response: { 200: ExportDescription, default: Refusal },
      },
    },
    async ({ params, body }) => {
      const served = exports.get(params.export);
      await served.resize(body.sizeBytes);
      events.publish({ type: 'export-resized', export: served.name });
      return describeExport(served);
    },
  );
}
