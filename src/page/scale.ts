/** The smallest slice in bytes that the server describes. */
const MIN_SLICE_BYTES = 4096;
/** A part that is no larger than this is not worth a closer look. */
const MIN_PART_BYTES = 64 * MIN_SLICE_BYTES;

/** What a map shows of a disk, in bytes. */
export interface Part {
  readonly offset: number;
  readonly length: number;
}

/** A disk, and how many slices there is room for. */
export interface Room {
  readonly diskBytes: number;
  readonly mostSlices: number;
}

/** The smallest slice that is a power of two, so that at most `mostSlices` of them cover `length` bytes. */
export function sliceBytesFor(length: number, mostSlices: number): number {
  let sliceBytes = MIN_SLICE_BYTES;
  while (Math.ceil(length / sliceBytes) > mostSlices) sliceBytes *= 2;
  return sliceBytes;
}

/** A part that is smaller by `factor`, or larger if that is below 1, with `focus` at the same place in it. */
export function zoom(room: Room, part: Part, factor: number, focus = part.offset + part.length / 2): Part {
  const { diskBytes } = room;
  const length = Math.min(Math.max(part.length / factor, MIN_PART_BYTES), diskBytes);
  const share = (focus - part.offset) / part.length;
  return placed(room, focus - share * length, length);
}

/** The part that lies `share` of its length further on. */
export function pan(room: Room, part: Part, share: number): Part {
  return placed(room, part.offset + share * part.length, part.length);
}

/** Moves a part onto the disk, and its ends to those of slices. */
function placed({ diskBytes, mostSlices }: Room, offset: number, length: number): Part {
  const sliceBytes = sliceBytesFor(length, mostSlices);
  const inside = Math.min(Math.max(offset, 0), diskBytes - length);
  const start = Math.floor(inside / sliceBytes) * sliceBytes;
  const end = Math.min(start + Math.ceil(length / sliceBytes) * sliceBytes, diskBytes);
  return { offset: start, length: end - start };
}
