import { type Static, Type } from '@fastify/type-provider-typebox';
import { BackupPart } from './backup.js';
import { ReloadReport } from './reload.js';
import { Bytes, List, strict } from './shapes.js';
import { HeldWrites } from './transaction.js';
import { abortReasons, eventTypes, MAX_EVENTS, thresholdKinds, tlsModes } from './values.js';

const Part = Type.Pick(BackupPart, ['export', 'mode', 'fullReason', 'estimatedReadBytes']);

/** Which fields there are depends on the type. */
export const Event = Type.Object({
  id: Type.Integer({ description: 'Rises by 1 with each event, also over restarts of the server' }),
  type: Type.Enum(eventTypes),
  at: Type.String({ description: 'When, in ISO 8601' }),
  by: Type.Optional(
    Type.String({
      description: 'Who asked for it, for callers with the right admin; missing if the server did it by itself',
    }),
  ),
  export: Type.Optional(Type.String()),
  exports: Type.Optional(List(Type.String())),
  actions: Type.Optional(List(Type.Object({ type: Type.String(), bitmap: Type.String() }))),
  bitmap: Type.Optional(Type.String()),
  backup: Type.Optional(Type.String()),
  parts: Type.Optional(List(Part)),
  heldWrites: Type.Optional(HeldWrites),
  seconds: Type.Optional(Type.Number({ description: 'How long the backup took' })),
  reason: Type.Optional(Type.Enum(abortReasons, { description: 'Why the backup was aborted' })),
  detail: Type.Optional(Type.String()),
  percent: Type.Optional(Type.Integer({ description: 'How full the scratch space is' })),
  version: Type.Optional(Type.String()),
  pid: Type.Optional(Type.Integer()),
  state: Type.Optional(Type.String({ description: 'The state directory of the server' })),
  tcp: Type.Optional(List(Type.Object({ host: Type.String(), port: Type.Integer() }))),
  tls: Type.Optional(Type.Enum(tlsModes)),
  unix: Type.Optional(Type.String()),
  exportCount: Type.Optional(Type.Integer()),
  applied: Type.Optional(ReloadReport.properties.applied),
  notApplied: Type.Optional(ReloadReport.properties.notApplied),
  threshold: Type.Optional(Type.String()),
  kind: Type.Optional(Type.Enum(thresholdKinds)),
  limitBytes: Type.Optional(Bytes('The limit of a threshold')),
  valueBytes: Type.Optional(Bytes('What is dirty or free')),
  limitSeconds: Type.Optional(Type.Integer()),
  ageSeconds: Type.Optional(Type.Integer({ description: 'Time since the last committed backup' })),
  hook: Type.Optional(Type.String()),
  about: Type.Optional(Type.Integer({ description: 'The event that a hook could not be told of' })),
  tries: Type.Optional(Type.Integer()),
});
export type Event = Readonly<Static<typeof Event>>;

export const EventQuery = Type.Object(
  {
    limit: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: MAX_EVENTS,
        description: 'Maximum number of events, 100 by default; a page may have fewer',
      }),
    ),
    after: Type.Optional(Type.Integer({ minimum: 0, description: 'Only events with a greater id' })),
    before: Type.Optional(Type.Integer({ minimum: 1, description: 'Only events with a smaller id' })),
    type: Type.Optional(Type.Enum(eventTypes)),
    export: Type.Optional(Type.String({ description: 'Only events about this export' })),
  },
  strict,
);

export const EventPage = Type.Object({
  events: List(Event, { description: 'Newest first' }),
  next: Type.Union([Type.Integer(), Type.Null()], {
    description: 'The `before` that gets older events; null if there are none',
  }),
});
export type EventPage = Readonly<Static<typeof EventPage>>;
