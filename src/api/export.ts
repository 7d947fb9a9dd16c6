import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bitmap, granularityBytes } from './bitmap.js';
import { Bytes, List, oneOf, strict } from './shapes.js';
import { exportOrigins, minBlockChoices } from './values.js';

const Connection = Type.Object({
  id: Type.Integer(),
  client: Type.String(),
  connectedAt: Type.String(),
  requests: Type.Integer(),
  failedRequests: Type.Integer(),
  bytesRead: Type.Integer(),
  bytesWritten: Type.Integer(),
});
export type Connection = Static<typeof Connection>;

export const Client = Type.Object({
  ...Connection.properties,
  export: Type.String({ description: 'The export or view that the client uses' }),
  tls: Type.String({ description: 'The version of TLS, such as TLSv1.3; none without TLS' }),
});
export type Client = Readonly<Static<typeof Client>>;

const minBlockBytes = oneOf(minBlockChoices, {
  description: 'Clients that negotiate block sizes may only use multiples of this; the default is 512',
});

export const ExportDescription = Type.Object({
  name: Type.String(),
  path: Type.Optional(Type.String({ description: 'Only for administrators of the export' })),
  origin: Type.Optional(
    oneOf(exportOrigins, {
      description:
        'The configuration file, a flag, or a command; `kept` is served again after a restart, `temporary` is not. ' +
        'Only for administrators of the export',
    }),
  ),
  description: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  readOnly: Type.Boolean(),
  minBlockBytes,
  uri: Type.String({ description: 'The NBD URI for the caller; empty if the server has no address that it can reach' }),
  bitmaps: List(Bitmap),
  connections: Type.Array(Connection, { description: 'Empty for all but administrators of the export' }),
});
export type ExportDescription = Readonly<Static<typeof ExportDescription>>;

export const UnservedExport = Type.Object({
  name: Type.String(),
  path: Type.String(),
  problem: Type.String({ description: 'Why it could not be opened' }),
});
export type UnservedExport = Readonly<Static<typeof UnservedExport>>;

const NewBitmapOfExport = Type.Object({ name: Type.String(), granularityBytes }, strict);
export type BitmapSpec = Readonly<Static<typeof NewBitmapOfExport>>;

export const NewExport = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    path: Type.String({
      minLength: 1,
      description: 'A raw image or a block device; a relative path starts at the working directory of the server',
    }),
    description: Type.Optional(Type.String()),
    sizeBytes: Type.Optional(Bytes('Create a missing file with this size; an existing file is not changed')),
    readOnly: Type.Optional(Type.Boolean()),
    format: Type.Optional(
      Type.Literal('raw', { description: 'Serve a new image as raw even if it looks like another format' }),
    ),
    minBlockBytes: Type.Optional(minBlockBytes),
    tls: Type.Optional(Type.Literal('required', { description: 'NBD clients have to use TLS for this export' })),
    bitmaps: Type.Optional(List(NewBitmapOfExport)),
    temporary: Type.Optional(Type.Boolean({ description: 'Do not serve it again after a restart of the server' })),
  },
  strict,
);
/** The description of an export to be served. */
export type ExportSpec = Readonly<Omit<Static<typeof NewExport>, 'temporary'>>;

export const Size = Type.Object({ sizeBytes: Bytes('A multiple of 512') }, strict);
