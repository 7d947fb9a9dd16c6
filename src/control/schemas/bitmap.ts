import { Type } from '@fastify/type-provider-typebox';
import { grounds } from '../../bitmap/store/left-disk.js';
import { Bytes, strict } from './shapes.js';

export const Bitmap = Type.Object({
  name: Type.String(),
  export: Type.String(),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  sizeBytes: Bytes('Size of the disk that it describes'),
  dirtyBytes: Bytes('Bytes written since its base, in whole granules'),
  recording: Type.Boolean({ description: 'Writes are recorded' }),
  busy: Type.Boolean({ description: 'Frozen by an operation; a successor records' }),
  persistent: Type.Boolean({ description: 'Outlives the server' }),
  inconsistent: Type.Boolean({ description: 'Cannot be trusted; remove it and add it anew' }),
  inconsistentReason: Type.Optional(Type.String()),
  base: Type.Union([Type.String(), Type.Null()], { description: 'The committed backup that its bits count from' }),
  trust: Type.Optional(
    Type.Object(
      {
        ground: Type.String({ enum: Object.keys(grounds) }),
        text: Type.String({ description: 'The same for people' }),
      },
      { description: 'Why a bitmap that is older than this run of the server is trusted' },
    ),
  ),
});

export const granularityBytes = Type.Optional(Bytes('A power of two from 512 to 2147483648; 65536 when not given'));

export const NewBitmap = Type.Object(
  {
    name: Type.String(),
    granularityBytes,
    disabled: Type.Optional(Type.Boolean({ description: 'Made without recording' })),
    transient: Type.Optional(Type.Boolean({ description: 'Kept in memory alone' })),
  },
  strict,
);

export const Extents = Type.Object({
  export: Type.String(),
  bitmap: Type.String(),
  sizeBytes: Bytes('Size of the disk'),
  granularityBytes: Bytes('Bytes that one bit stands for'),
  extents: Type.Array(
    Type.Object({ offset: Bytes('Where it begins'), length: Bytes('Its length'), dirty: Type.Boolean() }),
  ),
  nextOffset: Type.Union([Type.Integer(), Type.Null()], { description: 'Where the next page begins; null at the end' }),
});
