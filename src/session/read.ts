import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { KIB, MIB } from '../base/units.js';
import type { BlockDevice } from '../export/served-disk.js';
import { CommandFlag, REPLY_FLAG_DONE, ReplyChunk } from '../protocol/constants.js';
import {
  CHUNK_BYTES,
  DATA_CHUNK_BYTES,
  HOLE_CHUNK_BYTES,
  putChunk,
  putDataChunk,
  putHoleChunk,
  putSimpleReply,
  SIMPLE_REPLY_BYTES,
} from '../protocol/reply-codec.js';
import type { ReplyWriter } from './reply-writer.js';

/** A longer read goes to the thread pool, so that it does not hold up other connections. */
const MAX_READ_NOW_BYTES = 2 * MIB;
/** To look for a hole costs a system call, and a shorter read costs hardly more than that. */
const MIN_HOLE_PROBE_BYTES = 64 * KIB;

/**
 * Answers a read at once if the device can. Otherwise returns WOULD_BLOCK, or the error of the device, and puts nothing
 * into the output: a header that says success must not be sent before the data is there.
 */
export function readNow(
  writer: ReplyWriter,
  device: BlockDevice,
  structured: boolean,
  flags: number,
  cookie: Buffer,
  cookieAt: number,
  offset: number,
  length: number,
): Errno | typeof WOULD_BLOCK {
  if (length > MAX_READ_NOW_BYTES) return WOULD_BLOCK;
  const filledCount = writer.filledCount;
  const used = writer.used;
  let dataAt = offset;
  if (structured) {
    dataAt = putLeadingHole(writer, device, flags, cookie, cookieAt, offset, length);
    if (dataAt > offset && dataAt === offset + length) return OK;
  }
  putReadHeader(writer, structured, cookie, cookieAt, dataAt, offset + length - dataAt);
  for (let at = dataAt; at < offset + length; ) {
    const count = Math.min(offset + length - at, writer.room());
    const errno = device.readNow(writer.piece, writer.used, count, at);
    if (errno !== OK) {
      writer.rollBack(filledCount, used);
      return errno;
    }
    writer.used += count;
    at += count;
  }
  return OK;
}

/** Puts a hole chunk if the range begins with a hole and is long enough. Returns where the data begins. */
function putLeadingHole(
  writer: ReplyWriter,
  device: BlockDevice,
  flags: number,
  cookie: Buffer,
  cookieAt: number,
  offset: number,
  length: number,
): number {
  // DF allows only one content chunk, so holes are sent as zeroes.
  if (length < MIN_HOLE_PROBE_BYTES || (flags & CommandFlag.DF) !== 0) return offset;
  const holeBytes = device.holeNow(offset, length);
  if (holeBytes === 0) return offset;
  const at = writer.reserve(HOLE_CHUNK_BYTES);
  const chunkFlags = holeBytes === length ? REPLY_FLAG_DONE : 0;
  putHoleChunk(writer.piece, at, chunkFlags, cookie, cookieAt, offset, holeBytes);
  return offset + holeBytes;
}

/** Puts the header of a reply that is followed by `length` bytes of data. */
function putReadHeader(
  writer: ReplyWriter,
  structured: boolean,
  cookie: Buffer,
  cookieAt: number,
  offset: number,
  length: number,
): void {
  const at = writer.reserve(readHeaderBytes(structured, length));
  putReadHeaderAt(writer.piece, at, structured, cookie, cookieAt, offset, length);
}

function readHeaderBytes(structured: boolean, length: number): number {
  if (!structured) return SIMPLE_REPLY_BYTES;
  return length === 0 ? CHUNK_BYTES : DATA_CHUNK_BYTES;
}

function putReadHeaderAt(
  target: Buffer,
  at: number,
  structured: boolean,
  cookie: Buffer,
  cookieAt: number,
  offset: number,
  length: number,
): void {
  if (!structured) putSimpleReply(target, at, 0, cookie, cookieAt);
  else if (length === 0) putChunk(target, at, REPLY_FLAG_DONE, ReplyChunk.NONE, cookie, cookieAt, 0);
  else putDataChunk(target, at, REPLY_FLAG_DONE, cookie, cookieAt, offset, length);
}

/** Answers a read that has to wait. The device fills a buffer of its own for the reply, after the header. */
export async function readWaiting(
  writer: ReplyWriter,
  device: BlockDevice,
  structured: boolean,
  cookie: Buffer,
  offset: number,
  length: number,
): Promise<Errno> {
  const headerBytes = readHeaderBytes(structured, length);
  const reply = Buffer.allocUnsafeSlow(headerBytes + length);
  const errno = await device.read(reply, headerBytes, length, offset);
  if (errno !== OK) return errno;
  putReadHeaderAt(reply, 0, structured, cookie, 0, offset, length);
  writer.send(reply);
  return OK;
}
