import { assert } from '../base/assert.js';
import { writeInt32, writeUInt64 } from '../base/big-endian.js';
import type { ExtentList } from '../base/extents.js';
import { REPLY_FLAG_DONE, ReplyChunk, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from './constants.js';
import {
  blockStatusLayout,
  chunkLayout,
  errorChunkLayout,
  extentLayout,
  fieldOffset,
  offsetDataLayout,
  offsetHoleLayout,
  simpleReplyLayout,
} from './layouts.js';
import type { Cookie } from './request.js';

export const SIMPLE_REPLY_BYTES = simpleReplyLayout.span;
export const CHUNK_BYTES = chunkLayout.span;
/** Everything before the data of an OFFSET_DATA chunk. */
export const DATA_CHUNK_BYTES = chunkLayout.span + offsetDataLayout.span;
export const HOLE_CHUNK_BYTES = chunkLayout.span + offsetHoleLayout.span;

/** Where the fields of replies are, for the server that writes them and the client that reads them. */
export const SIMPLE_ERROR_AT = fieldOffset(simpleReplyLayout, 'error');
export const SIMPLE_COOKIE_AT = fieldOffset(simpleReplyLayout, 'cookie');
export const CHUNK_FLAGS_AT = fieldOffset(chunkLayout, 'flags');
export const CHUNK_TYPE_AT = fieldOffset(chunkLayout, 'type');
export const CHUNK_COOKIE_AT = fieldOffset(chunkLayout, 'cookie');
const CHUNK_LENGTH_AT = fieldOffset(chunkLayout, 'length');

function putCookie(target: Buffer, at: number, { cookieHigh, cookieLow }: Cookie): void {
  writeInt32(target, at, cookieHigh);
  writeInt32(target, at + 4, cookieLow);
}

export function putSimpleReply(target: Buffer, at: number, error: number, cookie: Cookie): void {
  target.writeUInt32BE(SIMPLE_REPLY_MAGIC, at);
  target.writeUInt32BE(error, at + SIMPLE_ERROR_AT);
  putCookie(target, at + SIMPLE_COOKIE_AT, cookie);
}

/** Writes the header of a chunk. `length` counts the payload bytes that follow it. */
export function putChunk(
  target: Buffer,
  at: number,
  flags: number,
  type: number,
  cookie: Cookie,
  length: number,
): void {
  target.writeUInt32BE(STRUCTURED_REPLY_MAGIC, at);
  target.writeUInt16BE(flags, at + CHUNK_FLAGS_AT);
  target.writeUInt16BE(type, at + CHUNK_TYPE_AT);
  putCookie(target, at + CHUNK_COOKIE_AT, cookie);
  target.writeUInt32BE(length, at + CHUNK_LENGTH_AT);
}

/** Writes everything before the data of a chunk that holds `length` bytes of the disk from `offset` on. */
export function putDataChunk(
  target: Buffer,
  at: number,
  flags: number,
  cookie: Cookie,
  offset: number,
  length: number,
): void {
  assert(length > 0, 'a data chunk is never empty');
  putChunk(target, at, flags, ReplyChunk.OFFSET_DATA, cookie, offsetDataLayout.span + length);
  writeUInt64(target, at + CHUNK_BYTES, offset);
}

/** Writes a whole OFFSET_HOLE chunk. */
export function putHoleChunk(
  target: Buffer,
  at: number,
  flags: number,
  cookie: Cookie,
  offset: number,
  length: number,
): void {
  assert(length > 0, 'a hole chunk is never empty');
  putChunk(target, at, flags, ReplyChunk.OFFSET_HOLE, cookie, offsetHoleLayout.span);
  writeUInt64(target, at + CHUNK_BYTES, offset);
  target.writeUInt32BE(length, at + CHUNK_BYTES + offsetDataLayout.span);
}

/** Encodes an ERROR chunk, which is the last of its reply. `message` is for people. */
export function encodeErrorChunk(error: number, message: string, cookie: Cookie): Buffer {
  const text = Buffer.from(message);
  const fixedBytes = CHUNK_BYTES + errorChunkLayout.span;
  const chunk = Buffer.allocUnsafe(fixedBytes + text.length);
  putChunk(chunk, 0, REPLY_FLAG_DONE, ReplyChunk.ERROR, cookie, errorChunkLayout.span + text.length);
  errorChunkLayout.encode({ error, messageLength: text.length }, chunk, CHUNK_BYTES);
  text.copy(chunk, fixedBytes);
  return chunk;
}

/** Encodes a BLOCK_STATUS chunk for one context. */
export function encodeBlockStatusChunk(flags: number, contextId: number, extents: ExtentList, cookie: Cookie): Buffer {
  const fixedBytes = CHUNK_BYTES + blockStatusLayout.span;
  const descriptorBytes = extents.count * extentLayout.span;
  const chunk = Buffer.allocUnsafe(fixedBytes + descriptorBytes);
  const payloadBytes = blockStatusLayout.span + descriptorBytes;
  putChunk(chunk, 0, flags, ReplyChunk.BLOCK_STATUS, cookie, payloadBytes);
  blockStatusLayout.encode({ contextId }, chunk, CHUNK_BYTES);
  const statusAt = fieldOffset(extentLayout, 'status');
  for (let i = 0, at = fixedBytes; i < extents.count; i++, at += extentLayout.span) {
    chunk.writeUInt32BE(extents.lengths[i]!, at);
    chunk.writeUInt32BE(extents.statuses[i]!, at + statusAt);
  }
  return chunk;
}
