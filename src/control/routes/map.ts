import { Type } from '@fastify/type-provider-typebox';
import { DiskMap } from '../../api/disk-map.js';
import { Bytes, Refusal, strict } from '../../api/shapes.js';
import type { ControlHost } from '../control-host.js';
import { MAX_SLICES, MIN_SLICE_BYTES, mapOf } from '../disk-map.js';
import type { ControlApi } from '../new-api.js';
import { wholeNumbers } from '../request-checks.js';

const Params = Type.Object({ export: Type.String() });

const Query = Type.Object(
  {
    offset: Type.Optional(Bytes('Where to begin; the default is 0')),
    length: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'How much of the disk to describe; the default is all that follows',
      }),
    ),
    sliceBytes: Type.Optional(
      Type.Integer({
        minimum: MIN_SLICE_BYTES,
        maximum: Number.MAX_SAFE_INTEGER,
        description: `A multiple of ${MIN_SLICE_BYTES} that makes at most ${MAX_SLICES} slices`,
      }),
    ),
    bitmap: Type.Optional(Type.String({ description: 'Tell dirty bytes of this bitmap too' })),
  },
  strict,
);

export function mapRoutes(api: ControlApi, { exports }: ControlHost): void {
  api.get(
    '/v1/exports/:export/map',
    {
      preValidation: wholeNumbers('offset', 'length', 'sliceBytes'),
      config: { right: ['read', 'backup'] },
      schema: {
        operationId: 'getMap',
        summary: 'Sum up which parts of a disk are allocated and dirty, for a drawing',
        params: Params,
        querystring: Query,
        response: { 200: DiskMap, default: Refusal },
      },
    },
    async ({ params, query }) => mapOf(exports.get(params.export), query),
  );
}
