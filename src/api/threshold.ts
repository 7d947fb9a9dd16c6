import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List, strict } from './shapes.js';
import { roomPlaces, thresholdKinds, thresholdOrigins } from './values.js';

const settings = {
  kind: Type.Enum(thresholdKinds, {
    description: 'Much of a bitmap is dirty, the last committed backup is old, or little space is free',
  }),
  bitmap: Type.Optional(Type.String({ description: 'For dirty and backup-age' })),
  limitBytes: Type.Optional(Bytes('For dirty: the most that may be dirty; for room: the least that has to be free')),
  limitPercent: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 100, description: 'For dirty, in place of limitBytes: part of the disk' }),
  ),
  limitSeconds: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 999_999_999, description: 'For backup-age: how old the last backup may be' }),
  ),
  of: Type.Optional(Type.Enum(roomPlaces, { description: 'For room: whose file system' })),
};

export const NewThreshold = Type.Object(
  {
    ...settings,
    name: Type.Optional(Type.String({ description: 'The kind, if it is missing' })),
    exports: Type.Optional(
      List(Type.String(), { maxItems: 256, description: 'Patterns for the exports that it is about; all by default' }),
    ),
  },
  strict,
);
export type NewThreshold = Readonly<Static<typeof NewThreshold>>;

const Crossing = Type.Object({
  export: Type.Optional(Type.String()),
  bitmap: Type.Optional(Type.String()),
  since: Type.String({ description: 'When it was crossed, in ISO 8601' }),
  limitBytes: Type.Optional(Bytes('The limit')),
  valueBytes: Type.Optional(Bytes('What is dirty or free now')),
  limitSeconds: Type.Optional(Type.Integer()),
  ageSeconds: Type.Optional(Type.Integer({ description: 'Time since the last committed backup' })),
});

export const Threshold = Type.Object({
  ...settings,
  name: Type.String(),
  exports: List(Type.String()),
  origin: Type.Enum(thresholdOrigins, { description: 'Set by the configuration, or added by a command' }),
  crossed: List(Crossing, { description: 'Where it is crossed now' }),
  count: Type.Integer({ description: 'How often it was crossed since the server started' }),
});
export type Threshold = Readonly<Static<typeof Threshold>>;
