import { writeInt32, writeUInt64 } from '../base/big-endian.js';
import type { ExtentList } from '../base/extents.js';
import { EXTENDED_REPLY_MAGIC, ReplyChunk, STRUCTURED_REPLY_MAGIC } from './constants.js';
import {
  blockStatusLayout,
  chunkLayout,
  extendedChunkLayout,
  extendedExtentLayout,
  extendedStatusLayout,
  extentLayout,
  fieldOffset,
} from './layouts.js';
import type { Cookie, ReplyTo } from './request.js';

/** Where the fields of a chunk's header are, in both forms, for the server that writes them and the client that reads them. */
export const CHUNK_FLAGS_AT = fieldOffset(chunkLayout, 'flags');
export const CHUNK_TYPE_AT = fieldOffset(chunkLayout, 'type');
export const CHUNK_COOKIE_AT = fieldOffset(chunkLayout, 'cookie');
const CHUNK_LENGTH_AT = fieldOffset(chunkLayout, 'length');
const EXTENDED_OFFSET_AT = fieldOffset(extendedChunkLayout, 'offset');
export const EXTENDED_LENGTH_AT = fieldOffset(extendedChunkLayout, 'length');

const STATUS_AT = fieldOffset(extentLayout, 'status');
/** Where the status is in an extent with extended headers. */
export const EXTENDED_STATUS_AT = fieldOffset(extendedExtentLayout, 'status');

export function putCookie(target: Buffer, at: number, { cookieHigh, cookieLow }: Cookie): void {
  writeInt32(target, at, cookieHigh);
  writeInt32(target, at + 4, cookieLow);
}

/** How the chunks of a reply look on the wire. A connection has one form, so that no field needs a decision. */
export interface ChunkForm {
  readonly headerBytes: number;
  /** Writes the header of a chunk. `length` counts the payload bytes that follow it. */
  putHeader(target: Buffer, at: number, flags: number, type: number, to: ReplyTo, length: number): void;
  /** The type of a chunk with extents, and the length of its payload. */
  readonly statusType: number;
  statusBytes(extents: ExtentList): number;
  /** Writes the payload of a chunk with the extents of one context. */
  putStatus(target: Buffer, at: number, contextId: number, extents: ExtentList): void;
}

export const structuredChunks: ChunkForm = {
  headerBytes: chunkLayout.span,
  statusType: ReplyChunk.BLOCK_STATUS,

  putHeader(target, at, flags, type, to, length) {
    writeInt32(target, at, STRUCTURED_REPLY_MAGIC);
    target.writeUInt16BE(flags, at + CHUNK_FLAGS_AT);
    target.writeUInt16BE(type, at + CHUNK_TYPE_AT);
    putCookie(target, at + CHUNK_COOKIE_AT, to);
    writeInt32(target, at + CHUNK_LENGTH_AT, length);
  },

  statusBytes: ({ count }) => blockStatusLayout.span + count * extentLayout.span,

  putStatus(target, start, contextId, { count, lengths, statuses }) {
    blockStatusLayout.encode({ contextId }, target, start);
    for (let i = 0, at = start + blockStatusLayout.span; i < count; i++, at += extentLayout.span) {
      target.writeUInt32BE(lengths[i]!, at);
      target.writeUInt32BE(statuses[i]!, at + STATUS_AT);
    }
  },
};

export const extendedChunks: ChunkForm = {
  headerBytes: extendedChunkLayout.span,
  statusType: ReplyChunk.BLOCK_STATUS_EXT,

  putHeader(target, at, flags, type, to, length) {
    writeInt32(target, at, EXTENDED_REPLY_MAGIC);
    target.writeUInt16BE(flags, at + CHUNK_FLAGS_AT);
    target.writeUInt16BE(type, at + CHUNK_TYPE_AT);
    putCookie(target, at + CHUNK_COOKIE_AT, to);
    writeInt32(target, at + EXTENDED_OFFSET_AT, to.offsetHigh);
    writeInt32(target, at + EXTENDED_OFFSET_AT + 4, to.offsetLow);
    writeUInt64(target, at + EXTENDED_LENGTH_AT, length);
  },

  statusBytes: ({ count }) => extendedStatusLayout.span + count * extendedExtentLayout.span,

  putStatus(target, start, contextId, { count, lengths, statuses }) {
    extendedStatusLayout.encode({ contextId, count }, target, start);
    for (let i = 0, at = start + extendedStatusLayout.span; i < count; i++, at += extendedExtentLayout.span) {
      writeUInt64(target, at, lengths[i]!);
      writeUInt64(target, at + EXTENDED_STATUS_AT, statuses[i]!);
    }
  },
};
