import { assert } from '../base/assert.js';
import { writeInt32, writeUInt64 } from '../base/big-endian.js';
import type { ExtentList } from '../base/extents.js';
import { type ChunkForm, putCookie } from './chunk-form.js';
import { REPLY_FLAG_DONE, ReplyChunk, SIMPLE_REPLY_MAGIC } from './constants.js';
import { errorChunkLayout, fieldOffset, offsetDataLayout, offsetHoleLayout, simpleReplyLayout } from './layouts.js';
import type { Cookie, ReplyTo } from './request.js';

export const SIMPLE_REPLY_BYTES = simpleReplyLayout.span;
export const SIMPLE_ERROR_AT = fieldOffset(simpleReplyLayout, 'error');
export const SIMPLE_COOKIE_AT = fieldOffset(simpleReplyLayout, 'cookie');

export function putSimpleReply(target: Buffer, at: number, error: number, cookie: Cookie): void {
  writeInt32(target, at, SIMPLE_REPLY_MAGIC);
  writeInt32(target, at + SIMPLE_ERROR_AT, error);
  putCookie(target, at + SIMPLE_COOKIE_AT, cookie);
}

/** The length of everything before the data of an OFFSET_DATA chunk. */
export function dataChunkBytes(form: ChunkForm): number {
  return form.headerBytes + offsetDataLayout.span;
}

/** The length of an OFFSET_HOLE chunk. */
export function holeChunkBytes(form: ChunkForm): number {
  return form.headerBytes + offsetHoleLayout.span;
}

/** Writes everything before the data of a chunk that holds `length` bytes of the disk from `offset` on. */
export function putDataChunk(
  form: ChunkForm,
  target: Buffer,
  at: number,
  flags: number,
  to: ReplyTo,
  offset: number,
  length: number,
): void {
  assert(length > 0, 'a data chunk is never empty');
  form.putHeader(target, at, flags, ReplyChunk.OFFSET_DATA, to, offsetDataLayout.span + length);
  writeUInt64(target, at + form.headerBytes, offset);
}

/** Writes a whole OFFSET_HOLE chunk. */
export function putHoleChunk(
  form: ChunkForm,
  target: Buffer,
  at: number,
  flags: number,
  to: ReplyTo,
  offset: number,
  length: number,
): void {
  assert(length > 0, 'a hole chunk is never empty');
  form.putHeader(target, at, flags, ReplyChunk.OFFSET_HOLE, to, offsetHoleLayout.span);
  writeUInt64(target, at + form.headerBytes, offset);
  writeInt32(target, at + form.headerBytes + offsetDataLayout.span, length);
}

/** Encodes an ERROR chunk, which is the last of its reply. `message` is for people. */
export function encodeErrorChunk(form: ChunkForm, error: number, message: string, to: ReplyTo): Buffer {
  const text = Buffer.from(message);
  const fixedBytes = form.headerBytes + errorChunkLayout.span;
  const chunk = Buffer.allocUnsafe(fixedBytes + text.length);
  form.putHeader(chunk, 0, REPLY_FLAG_DONE, ReplyChunk.ERROR, to, errorChunkLayout.span + text.length);
  errorChunkLayout.encode({ error, messageLength: text.length }, chunk, form.headerBytes);
  text.copy(chunk, fixedBytes);
  return chunk;
}

/** Encodes a chunk with the extents of one context. */
export function encodeBlockStatusChunk(
  form: ChunkForm,
  flags: number,
  contextId: number,
  extents: ExtentList,
  to: ReplyTo,
): Buffer {
  const payloadBytes = form.statusBytes(extents);
  const chunk = Buffer.allocUnsafe(form.headerBytes + payloadBytes);
  form.putHeader(chunk, 0, flags, form.statusType, to, payloadBytes);
  form.putStatus(chunk, form.headerBytes, contextId, extents);
  return chunk;
}
