import { type Static, Type } from '@fastify/type-provider-typebox';
import { granularityBytes } from './bitmap.js';
import { List, strict } from './shapes.js';

const MergeSource = Type.Union([
  Type.String({ description: 'A bitmap of the same export' }),
  Type.Object({ export: Type.String(), bitmap: Type.String() }, strict),
]);

/** For one merge, and for all merges of a transaction together, because writes wait for them. */
export const MAX_MERGE_SOURCES = 1000;

export const MergeSources = Type.Object(
  { sources: List(MergeSource, { minItems: 1, maxItems: MAX_MERGE_SOURCES }) },
  strict,
);

const onBitmap = (type: 'bitmap-remove' | 'bitmap-clear' | 'bitmap-enable' | 'bitmap-disable') =>
  Type.Object({ type: Type.Literal(type), export: Type.String(), bitmap: Type.String() }, strict);

export const Action = Type.Union([
  Type.Object(
    {
      type: Type.Literal('bitmap-add'),
      export: Type.String(),
      bitmap: Type.String(),
      granularityBytes,
      disabled: Type.Optional(Type.Boolean()),
      transient: Type.Optional(Type.Boolean()),
    },
    strict,
  ),
  onBitmap('bitmap-remove'),
  onBitmap('bitmap-clear'),
  onBitmap('bitmap-enable'),
  onBitmap('bitmap-disable'),
  Type.Object(
    {
      type: Type.Literal('bitmap-merge'),
      export: Type.String(),
      bitmap: Type.String({ description: 'The target of the merge' }),
      sources: List(MergeSource, { minItems: 1, maxItems: MAX_MERGE_SOURCES }),
    },
    strict,
  ),
]);
export type Action = Static<typeof Action>;

export const Transaction = Type.Object({ actions: List(Action, { minItems: 1, maxItems: 1000 }) }, strict);

export const HeldWrites = Type.Object(
  {
    count: Type.Integer(),
    medianMilliseconds: Type.Number(),
    p99Milliseconds: Type.Number(),
    maxMilliseconds: Type.Number(),
  },
  { description: 'How long the writes that arrived during the change had to wait' },
);
export type HeldWrites = Readonly<Static<typeof HeldWrites>>;
