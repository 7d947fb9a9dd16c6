import { type Errno, OK, WOULD_BLOCK } from '../base/errno.js';
import { KIB, MIB } from '../base/units.js';
import type { ChunkForm } from '../protocol/chunk-form.js';
import { CommandFlag, REPLY_FLAG_DONE, ReplyChunk } from '../protocol/constants.js';
import {
  dataChunkBytes,
  holeChunkBytes,
  putDataChunk,
  putHoleChunk,
  putSimpleReply,
  SIMPLE_REPLY_BYTES,
} from '../protocol/reply-codec.js';
import type { Request } from '../protocol/request.js';
import type { BlockDevice } from '../storage/device/block-device.js';
import type { Content, Replies } from './replies.js';
import type { ReplyWriter } from './reply-writer.js';

/** A longer read goes to the thread pool, so that it does not hold up other connections. */
const MAX_READ_NOW_BYTES = 2 * MIB;
/** A shorter read is copied, because it costs less than the system calls that avoid that. */
const MIN_LENT_BYTES = 32 * KIB;
/** To look for a hole costs a system call, and a shorter read costs hardly more than that. */
const MIN_HOLE_PROBE_BYTES = 64 * KIB;

/**
 * Answers a read at once if the device can. Otherwise returns WOULD_BLOCK, or the error of the device, and puts nothing
 * into the output: a header that says success must not be sent before the data is there.
 */
export function readNow(replies: Replies, device: BlockDevice, request: Request): Errno | typeof WOULD_BLOCK {
  const { writer, chunks } = replies;
  const { offset, length } = request;
  if (length > MAX_READ_NOW_BYTES) return WOULD_BLOCK;
  const { filledCount, used } = writer;
  const end = offset + length;
  let dataAt = offset;
  if (chunks) {
    dataAt = putLeadingHole(writer, chunks, device, request);
    if (dataAt > offset && dataAt === end) return OK;
  }
  if (end - dataAt >= MIN_LENT_BYTES && lendNow(replies, device, request, dataAt)) return OK;
  const headerAt = writer.reserve(headerBytes(chunks, end - dataAt));
  putHeader(writer.piece, headerAt, chunks, request, dataAt);
  for (let at = dataAt; at < end; ) {
    const count = Math.min(end - at, writer.room());
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
function putLeadingHole(writer: ReplyWriter, chunks: ChunkForm, device: BlockDevice, request: Request): number {
  const { flags, offset, length } = request;
  // DF allows only one content chunk, so holes are sent as zeroes.
  if (length < MIN_HOLE_PROBE_BYTES || (flags & CommandFlag.DF) !== 0) return offset;
  const holeBytes = device.holeNow(offset, length);
  if (holeBytes === 0) return offset;
  const at = writer.reserve(holeChunkBytes(chunks));
  const chunkFlags = holeBytes === length ? REPLY_FLAG_DONE : 0;
  putHoleChunk(chunks, writer.piece, at, chunkFlags, request, offset, holeBytes);
  return offset + holeBytes;
}

/**
 * Sends the data from `dataAt` on as references to pages of the disk, after its header. They are all in the pipe before
 * the header is sent. False: nothing was done.
 */
function lendNow({ writer, chunks }: Replies, device: BlockDevice, request: Request, dataAt: number): boolean {
  const length = request.offset + request.length - dataAt;
  const pipe = writer.pagePipe;
  if (!pipe?.fits(dataAt, length) || device.lendNow(pipe, length, dataAt) !== OK) return false;
  const headerAt = writer.reserve(headerBytes(chunks, length));
  putHeader(writer.piece, headerAt, chunks, request, dataAt);
  writer.sendPages(pipe, length);
  return true;
}

/** Reads for a request that has to wait. The device fills a buffer of its own for the reply, after the header. */
export async function readWaiting(
  { chunks }: Replies,
  device: BlockDevice,
  request: Request,
): Promise<Errno | Content> {
  const { offset, length } = request;
  const dataAt = headerBytes(chunks, length);
  const reply = Buffer.allocUnsafeSlow(dataAt + length);
  const errno = await device.read(reply, dataAt, length, offset);
  if (errno !== OK) return errno;
  putHeader(reply, 0, chunks, request, offset);
  return [reply];
}

/** The length of the header before `dataBytes` of data. */
function headerBytes(chunks: ChunkForm | undefined, dataBytes: number): number {
  if (!chunks) return SIMPLE_REPLY_BYTES;
  return dataBytes === 0 ? chunks.headerBytes : dataChunkBytes(chunks);
}

/** Puts the header of the data from `dataAt` on, which ends the reply. */
function putHeader(target: Buffer, at: number, chunks: ChunkForm | undefined, request: Request, dataAt: number): void {
  const dataBytes = request.offset + request.length - dataAt;
  if (!chunks) putSimpleReply(target, at, 0, request);
  else if (dataBytes === 0) chunks.putHeader(target, at, REPLY_FLAG_DONE, ReplyChunk.NONE, request, 0);
  else putDataChunk(chunks, target, at, REPLY_FLAG_DONE, request, dataAt, dataBytes);
}
