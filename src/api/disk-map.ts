import { type Static, Type } from '@fastify/type-provider-typebox';
import { Bytes, List } from './shapes.js';

export const DiskMap = Type.Object({
  offset: Bytes('Where the part of the disk begins'),
  length: Bytes('Length of the part; it may be shorter than what was asked for'),
  sliceBytes: Bytes('Slices begin at multiples of this; the first and the last may be covered in part'),
  allocatedBytes: List(Type.Integer(), { description: 'For each slice: bytes in the part that are not holes' }),
  dirtyBytes: Type.Optional(
    List(Type.Integer(), { description: 'For each slice: bytes in the part that are dirty in the bitmap' }),
  ),
  nextOffset: Type.Union([Type.Integer(), Type.Null()], {
    description: 'Where the next part begins; null at the end of what was asked for',
  }),
});
export type DiskMap = Readonly<Static<typeof DiskMap>>;
