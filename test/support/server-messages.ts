import { u16, u32, u64 } from './raw-client.js';

/** Messages of a server, made from the protocol document without code of src/. */

export const optionReply = (option: number, type: number, data: Buffer = Buffer.alloc(0)) =>
  Buffer.concat([u64(0x0003e889045565a9n), u32(option), u32(type), u32(data.length), data]);

/** The data of an INFO reply that describes an export. */
export const infoExport = (sizeBytes: number | bigint, flags: number) =>
  Buffer.concat([u16(0), u64(sizeBytes), u16(flags)]);

export const simpleReply = (cookie: bigint, error = 0, data: Buffer = Buffer.alloc(0)) =>
  Buffer.concat([u32(0x67446698), u32(error), u64(cookie), data]);

export const DONE = 1;
/** `length` is that of the payload, unless the test lies about it. */
export const chunk = (
  cookie: bigint,
  flags: number,
  type: number,
  payload: Buffer = Buffer.alloc(0),
  length = payload.length,
) => Buffer.concat([u32(0x668e33ef), u16(flags), u16(type), u64(cookie), u32(length), payload]);

export const dataChunk = (cookie: bigint, flags: number, offset: number, data: Buffer) =>
  chunk(cookie, flags, 1, Buffer.concat([u64(offset), data]));

export const holeChunk = (cookie: bigint, flags: number, offset: number, length: number) =>
  chunk(cookie, flags, 2, Buffer.concat([u64(offset), u32(length)]));

/** `extents`: pairs of length and status. */
export const statusChunk = (cookie: bigint, flags: number, contextId: number, extents: readonly [number, number][]) =>
  chunk(cookie, flags, 5, Buffer.concat([u32(contextId), ...extents.flat().map(u32)]));

/** A chunk of an extended reply. `offset` is that of the request. */
export const extendedChunk = (
  cookie: bigint,
  flags: number,
  type: number,
  payload: Buffer = Buffer.alloc(0),
  { offset = 0n, length = BigInt(payload.length) } = {},
) => Buffer.concat([u32(0x6e8a278c), u16(flags), u16(type), u64(cookie), u64(offset), u64(length), payload]);

/** `extents`: pairs of length and status. */
export const extendedStatusChunk = (
  cookie: bigint,
  flags: number,
  contextId: number,
  extents: readonly [bigint | number, bigint | number][],
  count = extents.length,
) => extendedChunk(cookie, flags, 6, Buffer.concat([u32(contextId), u32(count), ...extents.flat().map(u64)]));
