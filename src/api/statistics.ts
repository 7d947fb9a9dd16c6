import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List, strict } from './shapes.js';
import { MAX_LATENCY_BOUNDS } from './values.js';

const Latency = Type.Object(
  {
    boundsSeconds: List(Type.Number(), {
      description: 'The bounds between the bins; a bin begins with its lower bound',
    }),
    counts: List(Type.Integer(), { description: 'How many took that long: one bin more than there are bounds' }),
  },
  { description: 'How long the requests took, failed ones included; those that are just being answered are missing' },
);
export type Latency = Readonly<Static<typeof Latency>>;

const CommandStatistics = Type.Object({
  operations: Type.Integer({ description: 'Requests that succeeded' }),
  bytes: Bytes('What they read, wrote or changed; 0 for block status'),
  failed: Type.Integer({ description: 'Requests that the disk failed' }),
  invalid: Type.Integer({ description: 'Requests that were refused before they reached the disk' }),
  merged: Type.Optional(
    Type.Integer({
      description: 'Flushes that shared the flush of the file with another; only for flushes of exports',
    }),
  ),
  seconds: Type.Number({
    description: 'All the time that requests took, failed ones included; divided by a length of time, the queue depth',
  }),
  latency: Type.Optional(Latency),
});
export type CommandStatistics = Readonly<Static<typeof CommandStatistics>>;

const Statistics = Type.Object({
  commands: Type.Object(
    {
      read: Type.Optional(CommandStatistics),
      write: Type.Optional(CommandStatistics),
      zero: Type.Optional(CommandStatistics),
      trim: Type.Optional(CommandStatistics),
      flush: Type.Optional(CommandStatistics),
      cache: Type.Optional(CommandStatistics),
      status: Type.Optional(CommandStatistics),
      other: Type.Optional(CommandStatistics),
    },
    { description: 'By command; those that were never used are missing' },
  ),
  inFlight: Type.Integer({ description: 'Requests that wait for the disk now' }),
  highestOffset: Bytes('The largest end of a write; 0 if nothing was written'),
  idleSeconds: Type.Union([Type.Number(), Type.Null()], {
    description: 'Since the last request; null if there was none',
  }),
});
export type Statistics = Readonly<Static<typeof Statistics>>;

const ExportStatistics = Type.Object({
  name: Type.String(),
  connections: Type.Integer({ description: 'Clients that are connected; those that have gone are counted as well' }),
  ...Statistics.properties,
});
export type ExportStatistics = Readonly<Static<typeof ExportStatistics>>;

const ViewStatistics = Type.Object({
  ...ExportStatistics.properties,
  export: Type.String({ description: 'The export that it is a view of' }),
});

const ClientStatistics = Type.Object({
  id: Type.Integer(),
  client: Type.String(),
  export: Type.String({ description: 'The export or view that the client uses' }),
  tls: Type.String({ description: 'The version of TLS, such as TLSv1.3; none without TLS' }),
  ...Statistics.properties,
});

export const ServerStatistics = Type.Object({
  at: Type.String(),
  uptimeSeconds: Type.Number(),
  exports: List(ExportStatistics, { description: 'Those whose bitmaps the caller may see' }),
  views: List(ViewStatistics, { description: 'Only for administrators of the export' }),
  clients: List(ClientStatistics, { description: 'Only for administrators of the export' }),
});
export type ServerStatistics = Readonly<Static<typeof ServerStatistics>>;

export const LatencyBounds = Type.Object(
  {
    boundsSeconds: List(Type.Number({ exclusiveMinimum: 0 }), {
      minItems: 1,
      maxItems: MAX_LATENCY_BOUNDS,
      description: 'The bounds between the bins, each above the one before',
    }),
  },
  strict,
);
