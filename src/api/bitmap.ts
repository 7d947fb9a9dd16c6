import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List, strict } from './shapes.js';
import { type Ground, grounds } from './values.js';

export const Bitmap = Type.Object({
  name: Type.String(),
  export: Type.String(),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  sizeBytes: Bytes('Size of the disk that the bitmap describes'),
  dirtyBytes: Bytes('Size of the dirty granules'),
  recording: Type.Boolean({ description: 'Whether writes are recorded' }),
  busy: Type.Boolean({ description: 'Frozen by an operation, while a successor records writes' }),
  persistent: Type.Boolean({ description: 'Whether it survives a restart of the server' }),
  inconsistent: Type.Boolean({ description: 'It cannot be trusted: remove it and add it again' }),
  inconsistentReason: Type.Optional(Type.String()),
  base: Type.Union([Type.String(), Type.Null()], {
    description: 'The committed backup since which the bitmap records changes',
  }),
  trust: Type.Optional(
    Type.Object(
      {
        ground: Type.Unsafe<Ground>(Type.String({ enum: Object.keys(grounds) })),
        text: Type.String({ description: 'The same in words' }),
      },
      { description: 'Why a bitmap from an earlier run of the server is trusted' },
    ),
  ),
});
export type Bitmap = Readonly<Static<typeof Bitmap>>;

export const granularityBytes = Type.Optional(Bytes('A power of two from 512 to 2147483648; the default is 65536'));

export const NewBitmap = Type.Object(
  {
    name: Type.String(),
    granularityBytes,
    disabled: Type.Optional(Type.Boolean({ description: 'Create the bitmap without recording writes' })),
    transient: Type.Optional(Type.Boolean({ description: 'Keep the bitmap only in memory' })),
  },
  strict,
);

export const Extents = Type.Object({
  export: Type.String(),
  bitmap: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  extents: List(
    Type.Object({ offset: Bytes('Start of the extent'), length: Bytes('Length of the extent'), dirty: Type.Boolean() }),
  ),
  nextOffset: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Where the next page begins; null on the last page',
  }),
});
export type Extents = Readonly<Static<typeof Extents>>;
