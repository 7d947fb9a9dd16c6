import { Type } from '@fastify/type-provider-typebox';
import { Bitmap, Extents, NewBitmap } from '../../api/bitmap.js';
import { List, Refusal, strict } from '../../api/shapes.js';
import { MergeSources } from '../../api/transaction.js';
import type { SeenExports } from '../../export/seen-exports.js';
import { pageOfExtents } from '../bitmap-extents.js';
import type { ControlHost } from '../control-host.js';
import { describeBitmap } from '../descriptions.js';
import type { ControlApi } from '../new-api.js';
import { wholeNumbers } from '../request-checks.js';
import { runAction } from '../run-actions.js';

const ExportParams = Type.Object({ export: Type.String() });
const Params = Type.Object({ export: Type.String(), bitmap: Type.String() });
const MAX_EXTENTS = 100_000;
/** The most in one page. Listing more at once would block the event loop for other clients. */
const MAX_PAGE_EXTENTS = 4096;

export function bitmapRoutes(api: ControlApi, host: ControlHost): void {
  const actionsOn = (exports: SeenExports) => ({ exports, events: host.events, by: exports.who });
  const describe = (exportName: string, bitmap: string) =>
    describeBitmap(exportName, host.exports.get(exportName).getBitmap(bitmap));

  api.get(
    '/v1/exports/:export/bitmaps',
    {
      config: { right: ['read', 'backup'] },
      schema: {
        operationId: 'listBitmaps',
        summary: 'List the bitmaps of an export',
        params: ExportParams,
        response: { 200: Type.Object({ bitmaps: List(Bitmap) }), default: Refusal },
      },
    },
    async ({ params }) => {
      const bitmaps = host.exports.get(params.export).bitmapFacts();
      return { bitmaps: bitmaps.map((bitmap) => describeBitmap(params.export, bitmap)) };
    },
  );

  api.post(
    '/v1/exports/:export/bitmaps',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'addBitmap',
        summary: 'Add a bitmap, which records writes from now on',
        params: ExportParams,
        body: NewBitmap,
        response: { 201: Bitmap, default: Refusal },
      },
    },
    async ({ params, seen, body: { name, ...options } }, reply) => {
      await runAction(actionsOn(seen), { type: 'bitmap-add', export: params.export, bitmap: name, ...options });
      return reply.status(201).send(describe(params.export, name));
    },
  );

  api.get(
    '/v1/exports/:export/bitmaps/:bitmap',
    {
      config: { right: ['read', 'backup'] },
      schema: {
        operationId: 'getBitmap',
        summary: 'Get a bitmap',
        params: Params,
        response: { 200: Bitmap, default: Refusal },
      },
    },
    async ({ params }) => describe(params.export, params.bitmap),
  );

  api.delete(
    '/v1/exports/:export/bitmaps/:bitmap',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'removeBitmap',
        summary: 'Remove a bitmap',
        params: Params,
        response: { 204: Type.Null(), default: Refusal },
      },
    },
    async ({ params, seen }, reply) => {
      await runAction(actionsOn(seen), { type: 'bitmap-remove', ...params });
      return reply.status(204).send(null);
    },
  );

  const summaries = {
    clear: 'Mark everything as clean',
    enable: 'Start recording writes',
    disable: 'Stop recording writes, and keep the bits recorded so far',
  };
  for (const verb of ['clear', 'enable', 'disable'] as const) {
    api.post(
      `/v1/exports/:export/bitmaps/:bitmap/${verb}`,
      {
        config: { right: 'admin' },
        schema: {
          operationId: `${verb}Bitmap`,
          summary: summaries[verb],
          params: Params,
          response: { 200: Bitmap, default: Refusal },
        },
      },
      async ({ params, seen }) => {
        await runAction(actionsOn(seen), { type: `bitmap-${verb}`, ...params });
        return describe(params.export, params.bitmap);
      },
    );
  }

  api.post(
    '/v1/exports/:export/bitmaps/:bitmap/merge',
    {
      config: { right: 'admin' },
      schema: {
        operationId: 'mergeBitmaps',
        summary: 'Mark as dirty whatever is dirty in the sources, which do not change',
        params: Params,
        body: MergeSources,
        response: { 200: Bitmap, default: Refusal },
      },
    },
    async ({ params, seen, body }) => {
      await runAction(actionsOn(seen), { type: 'bitmap-merge', ...params, sources: body.sources });
      return describe(params.export, params.bitmap);
    },
  );

  api.get(
    '/v1/exports/:export/bitmaps/:bitmap/extents',
    {
      preValidation: wholeNumbers('offset', 'limit'),
      config: { right: ['read', 'backup'] },
      schema: {
        operationId: 'listExtents',
        summary: 'List dirty and clean extents in pages; NBD block status reports the same',
        params: Params,
        querystring: Type.Object(
          {
            offset: Type.Optional(Type.Integer({ minimum: 0, description: 'Where to begin' })),
            limit: Type.Optional(
              Type.Integer({
                minimum: 1,
                maximum: MAX_EXTENTS,
                description: 'Maximum number of extents; a page may have fewer',
              }),
            ),
          },
          strict,
        ),
        response: { 200: Extents, default: Refusal },
      },
    },
    async ({ params, query: { offset = 0, limit = MAX_PAGE_EXTENTS } }) =>
      pageOfExtents(host.exports.get(params.export), params.bitmap, offset, Math.min(limit, MAX_PAGE_EXTENTS)),
  );
}
