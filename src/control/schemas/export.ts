import { Type } from '@fastify/type-provider-typebox';
import { Bitmap, granularityBytes } from './bitmap.js';
import { Bytes, strict } from './shapes.js';

const Connection = Type.Object({
  id: Type.Integer(),
  client: Type.String(),
  connectedAt: Type.String(),
  requests: Type.Integer(),
  failedRequests: Type.Integer(),
  bytesRead: Type.Integer(),
  bytesWritten: Type.Integer(),
});

export const Client = Type.Object({
  ...Connection.properties,
  export: Type.String({ description: 'The export, or the view, that it uses' }),
  tls: Type.Literal('none'),
});

const minBlockBytes = Type.Union([Type.Literal(1), Type.Literal(512), Type.Literal(4096)], {
  description: 'NBD clients that ask for block sizes are held to multiples of this; 512 when not given',
});

export const ExportDescription = Type.Object({
  name: Type.String(),
  path: Type.String(),
  description: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  readOnly: Type.Boolean(),
  minBlockBytes,
  bitmaps: Type.Array(Bitmap),
  connections: Type.Array(Connection),
});

export const NewExport = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    path: Type.String({
      minLength: 1,
      description: 'A raw image or a block device, absolute or as the server sees it',
    }),
    description: Type.Optional(Type.String()),
    sizeBytes: Type.Optional(Bytes('Makes a missing file of that size; never changes one that is there')),
    readOnly: Type.Optional(Type.Boolean()),
    format: Type.Optional(
      Type.Literal('raw', { description: 'Serves a new image as raw even if it looks like one of another format' }),
    ),
    minBlockBytes: Type.Optional(minBlockBytes),
    bitmaps: Type.Optional(Type.Array(Type.Object({ name: Type.String(), granularityBytes }, strict))),
  },
  strict,
);

export const Size = Type.Object({ sizeBytes: Bytes('A multiple of 512') }, strict);
