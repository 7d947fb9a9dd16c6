import type { Structure } from 'buffer-layout';
import { assert } from '../base/assert.js';
import { blob, nu64be, struct, u16be, u32be } from '../base/binary-layout.js';

/** The wire structs of the NBD protocol document, each declared once. Everything on the wire is big-endian. */

export const greetingLayout = struct<{ magic: Buffer; optionMagic: Buffer; flags: number }>([
  blob(8, 'magic'),
  blob(8, 'optionMagic'),
  u16be('flags'),
]);

export const clientFlagsLayout = struct<{ flags: number }>([u32be('flags')]);

export const optionLayout = struct<{ magic: Buffer; option: number; length: number }>([
  blob(8, 'magic'),
  u32be('option'),
  u32be('length'),
]);

export const optionReplyLayout = struct<{ magic: number; option: number; type: number; length: number }>([
  nu64be('magic'),
  u32be('option'),
  u32be('type'),
  u32be('length'),
]);

export const exportNameReplyLayout = struct<{ size: number; flags: number }>([nu64be('size'), u16be('flags')]);

export const infoExportLayout = struct<{ type: number; size: number; flags: number }>([
  u16be('type'),
  nu64be('size'),
  u16be('flags'),
]);

export const infoBlockSizeLayout = struct<{ type: number; minimum: number; preferred: number; maximum: number }>([
  u16be('type'),
  u32be('minimum'),
  u32be('preferred'),
  u32be('maximum'),
]);

interface RequestFields {
  magic: number;
  flags: number;
  command: number;
  cookie: Buffer;
  offset: number;
  length: number;
}
const beforeLength = [u32be('magic'), u16be('flags'), u16be('command'), blob(8, 'cookie'), nu64be('offset')];

export const requestLayout = struct<RequestFields>([...beforeLength, u32be('length')]);

/** With extended headers, a request has a 64-bit length. */
export const extendedRequestLayout = struct<RequestFields>([...beforeLength, nu64be('length')]);

/** The payload of a BLOCK_STATUS request before its context ids, each of 32 bits. */
export const statusPayloadLayout = struct<{ length: number }>([nu64be('length')]);
export const contextIdLayout = struct<{ contextId: number }>([u32be('contextId')]);

export const simpleReplyLayout = struct<{ magic: number; error: number; cookie: Buffer }>([
  u32be('magic'),
  u32be('error'),
  blob(8, 'cookie'),
]);

export const chunkLayout = struct<{ magic: number; flags: number; type: number; cookie: Buffer; length: number }>([
  u32be('magic'),
  u16be('flags'),
  u16be('type'),
  blob(8, 'cookie'),
  u32be('length'),
]);

/** With extended headers, a chunk also has the offset of its request, and a 64-bit length. */
export const extendedChunkLayout = struct<{
  magic: number;
  flags: number;
  type: number;
  cookie: Buffer;
  offset: Buffer;
  length: number;
}>([u32be('magic'), u16be('flags'), u16be('type'), blob(8, 'cookie'), blob(8, 'offset'), nu64be('length')]);

/** Before the data of an OFFSET_DATA chunk. */
export const offsetDataLayout = struct<{ offset: number }>([nu64be('offset')]);
export const offsetHoleLayout = struct<{ offset: number; length: number }>([nu64be('offset'), u32be('length')]);
/** Before the message of an ERROR chunk. */
export const errorChunkLayout = struct<{ error: number; messageLength: number }>([
  u32be('error'),
  u16be('messageLength'),
]);
/** Before the descriptors of a BLOCK_STATUS chunk. */
export const blockStatusLayout = struct<{ contextId: number }>([u32be('contextId')]);
export const extentLayout = struct<{ length: number; status: number }>([u32be('length'), u32be('status')]);
/** Before the descriptors of a BLOCK_STATUS_EXT chunk. `count` is the number of descriptors, or 0 if it is left out. */
export const extendedStatusLayout = struct<{ contextId: number; count: number }>([u32be('contextId'), u32be('count')]);
export const extendedExtentLayout = struct<{ length: number; status: number }>([nu64be('length'), nu64be('status')]);

/** The byte offset of a field in its struct, for code that reads or writes a field in place. */
export function fieldOffset<Fields extends object>(layout: Structure<Fields>, field: keyof Fields & string): number {
  const offset = layout.offsetOf(field);
  assert(offset !== undefined, `the struct has a field ${field}`);
  return offset;
}
