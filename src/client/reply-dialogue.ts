import { readLowBits, readUInt64 } from '../base/big-endian.js';
import { formatCount, KIB } from '../base/units.js';
import {
  CHUNK_COOKIE_AT,
  CHUNK_FLAGS_AT,
  CHUNK_TYPE_AT,
  EXTENDED_LENGTH_AT,
  EXTENDED_STATUS_AT,
} from '../protocol/chunk-form.js';
import {
  EXTENDED_REPLY_MAGIC,
  REPLY_FLAG_DONE,
  ReplyChunk,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../protocol/constants.js';
import {
  blockStatusLayout,
  chunkLayout,
  errorChunkLayout,
  extendedChunkLayout,
  extendedExtentLayout,
  extendedStatusLayout,
  extentLayout,
  offsetDataLayout,
  offsetHoleLayout,
  simpleReplyLayout,
} from '../protocol/layouts.js';
import { SIMPLE_COOKIE_AT, SIMPLE_ERROR_AT } from '../protocol/reply-codec.js';
import type { ReplyForm } from '../protocol/reply-form.js';
import type { Dialogue } from './dialogue.js';
import { NbdProtocolError } from './errors.js';
import { ReadRequest } from './read-request.js';
import type { RequestTable } from './request-table.js';
import { MAX_DESCRIPTORS, StatusRequest } from './status-request.js';

/** A whole simple reply, or the header of a structured chunk up to its length field: both have the same size. */
const HEAD_BYTES = simpleReplyLayout.span;
const CHUNK_LENGTH_BYTES = chunkLayout.span - HEAD_BYTES;

/** Every chunk type that reports an error has this bit, even if the type is unknown. */
const ERROR_CHUNK_BIT = 2 ** 15;
/** Enough for the longest message, its header, and what an unknown error type may add. */
const MAX_ERROR_CHUNK_BYTES = 8 * KIB;
/** How many descriptors to receive at a time. */
const DESCRIPTOR_BATCH = 2 * KIB;

/** Receives replies in any order and settles their requests, for as long as the connection lasts. */
export function takeReplies(requests: RequestTable, form: ReplyForm): Dialogue<never> {
  return form === 'extended' ? takeExtendedReplies(requests) : takeCompactReplies(requests, form === 'structured');
}

function* takeCompactReplies(requests: RequestTable, structured: boolean): Dialogue<never> {
  for (;;) {
    const head = yield HEAD_BYTES;
    const magic = head.readUInt32BE(0);
    if (magic === SIMPLE_REPLY_MAGIC) yield* takeSimpleReply(requests, structured, head);
    else if (magic === STRUCTURED_REPLY_MAGIC && structured) {
      const chunk = headerOf(head);
      const length = (yield CHUNK_LENGTH_BYTES).readUInt32BE(0);
      yield* takeChunk(requests, chunk, length, compactStatus);
    } else throw noReply(magic);
  }
}

function* takeExtendedReplies(requests: RequestTable): Dialogue<never> {
  for (;;) {
    const head = yield extendedChunkLayout.span;
    const magic = head.readUInt32BE(0);
    if (magic !== EXTENDED_REPLY_MAGIC) throw noReply(magic);
    yield* takeChunk(requests, headerOf(head), readUInt64(head, EXTENDED_LENGTH_AT), extendedStatus);
  }
}

function noReply(magic: number): NbdProtocolError {
  return new NbdProtocolError(`sent 0x${magic.toString(16)} where a reply begins`);
}

function* takeSimpleReply(requests: RequestTable, structured: boolean, head: Buffer): Dialogue<void> {
  const error = head.readUInt32BE(SIMPLE_ERROR_AT);
  const cookie = readUInt64(head, SIMPLE_COOKIE_AT);
  const request = requests.find(cookie);
  if (structured && request instanceof ReadRequest) {
    throw new NbdProtocolError('answered a read with a simple reply although structured replies were agreed');
  }
  if (error !== 0) request.fail(error, '');
  else if (request instanceof ReadRequest) yield request.placeAll();
  requests.finish(cookie);
}

interface ChunkHeader {
  readonly flags: number;
  readonly type: number;
  readonly cookie: number;
}

/** What both forms of chunks begin with. */
function headerOf(head: Buffer): ChunkHeader {
  return {
    flags: head.readUInt16BE(CHUNK_FLAGS_AT),
    type: head.readUInt16BE(CHUNK_TYPE_AT),
    cookie: readUInt64(head, CHUNK_COOKIE_AT),
  };
}

function* takeChunk(
  requests: RequestTable,
  { flags, type, cookie }: ChunkHeader,
  length: number,
  status: StatusForm,
): Dialogue<void> {
  const request = requests.find(cookie);
  const done = (flags & REPLY_FLAG_DONE) !== 0;
  if (type === ReplyChunk.NONE) {
    if (length !== 0 || !done) throw invalidChunk(type, length);
  } else if (type === ReplyChunk.OFFSET_DATA && request instanceof ReadRequest) {
    yield* takeData(request, length);
  } else if (type === ReplyChunk.OFFSET_HOLE && request instanceof ReadRequest) {
    yield* takeHole(request, length);
  } else if (type === status.type && request instanceof StatusRequest) {
    yield* takeBlockStatus(request, length, status);
  } else if ((type & ERROR_CHUNK_BIT) !== 0) {
    const { error, message } = yield* takeError(type, length);
    request.fail(error, message);
  } else {
    throw invalidChunk(type, length);
  }
  if (done) requests.finish(cookie);
}

function* takeData(request: ReadRequest, length: number): Dialogue<void> {
  if (length <= offsetDataLayout.span) throw invalidChunk(ReplyChunk.OFFSET_DATA, length);
  const offset = readUInt64(yield offsetDataLayout.span, 0);
  yield request.place(offset, length - offsetDataLayout.span);
}

function* takeHole(request: ReadRequest, length: number): Dialogue<void> {
  if (length !== offsetHoleLayout.span) throw invalidChunk(ReplyChunk.OFFSET_HOLE, length);
  const hole = offsetHoleLayout.decode(yield offsetHoleLayout.span);
  request.place(hole.offset, hole.length).fill(0);
}

/** How extents are sent. */
interface StatusForm {
  readonly type: number;
  readonly header: { readonly span: number; decode(bytes: Buffer): { contextId: number; count?: number } };
  readonly extent: { readonly span: number; decode(bytes: Buffer, at: number): { length: number; status: number } };
}

const compactStatus: StatusForm = {
  type: ReplyChunk.BLOCK_STATUS,
  header: blockStatusLayout,
  extent: extentLayout,
};

const extendedStatus: StatusForm = {
  type: ReplyChunk.BLOCK_STATUS_EXT,
  header: extendedStatusLayout,
  extent: {
    span: extendedExtentLayout.span,
    // A status of 64 bits must not lose the flags in its lowest bits. A length that is not exact is longer than any disk.
    decode: (bytes, at) => ({
      length: extendedExtentLayout.decode(bytes, at).length,
      status: readLowBits(bytes, at + EXTENDED_STATUS_AT),
    }),
  },
};

function* takeBlockStatus(request: StatusRequest, length: number, form: StatusForm): Dialogue<void> {
  const { type, header, extent } = form;
  const descriptors = (length - header.span) / extent.span;
  if (!Number.isInteger(descriptors) || descriptors < 1 || descriptors > MAX_DESCRIPTORS) {
    throw invalidChunk(type, length);
  }
  const { contextId, count = 0 } = header.decode(yield header.span);
  if (count !== 0 && count !== descriptors) {
    throw new NbdProtocolError(`sent ${descriptors} extents where it announced ${count}`);
  }
  const list = request.begin(contextId, descriptors);
  for (let left = descriptors; left > 0; left -= DESCRIPTOR_BATCH) {
    const batch = yield Math.min(left, DESCRIPTOR_BATCH) * extent.span;
    for (let at = 0; at < batch.length; at += extent.span) {
      const { length: bytes, status } = extent.decode(batch, at);
      request.add(list, bytes, status);
    }
  }
}

/** Receives an error chunk. All types begin alike; the offset that follows in some types is not needed. */
function* takeError(type: number, length: number): Dialogue<{ error: number; message: string }> {
  if (length < errorChunkLayout.span || length > MAX_ERROR_CHUNK_BYTES) throw invalidChunk(type, length);
  const chunk = yield length;
  const { error, messageLength } = errorChunkLayout.decode(chunk);
  const messageEnd = errorChunkLayout.span + messageLength;
  if (messageEnd > length) throw invalidChunk(type, length);
  return { error, message: chunk.toString('utf8', errorChunkLayout.span, messageEnd) };
}

function invalidChunk(type: number, length: number): NbdProtocolError {
  return new NbdProtocolError(
    `sent a chunk of type ${type} and ${formatCount(length, 'byte')} where that is not valid`,
  );
}
