import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { extendedChunks, structuredChunks } from '../../src/protocol/chunk-form.js';
import { NbdError, REPLY_FLAG_DONE, ReplyChunk } from '../../src/protocol/constants.js';
import {
  dataChunkBytes,
  encodeBlockStatusChunk,
  encodeErrorChunk,
  holeChunkBytes,
  putDataChunk,
  putHoleChunk,
  putSimpleReply,
  SIMPLE_REPLY_BYTES,
} from '../../src/protocol/reply-codec.js';
import { ascii, hex } from '../support/hex.js';

const COOKIE = 'fedcba9876543210';
/** Its first half is negative as a signed number. */
const cookie = { cookieHigh: 0xfedcba98 | 0, cookieLow: 0x76543210, offsetHigh: -1, offsetLow: 0x80000001 | 0 };
/** The offset of the request, which only extended replies repeat. */
const OFFSET = 'ffffffff80000001';

/** What `put` writes at byte 3 of a target, after a check that it touched nothing else. */
function written(lengthBytes: number, put: (target: Buffer, at: number) => void): Buffer {
  const target = Buffer.alloc(lengthBytes + 6, 0xee);
  put(target, 3);
  expect(target.subarray(0, 3)).toEqual(hex('eeeeee'));
  expect(target.subarray(-3)).toEqual(hex('eeeeee'));
  return target.subarray(3, -3);
}

test('the sizes of the headers agree with the document', () => {
  expect(SIMPLE_REPLY_BYTES).toBe(16);
  const sizes = [structuredChunks, extendedChunks].map((form) => [
    form.headerBytes,
    dataChunkBytes(form),
    holeChunkBytes(form),
  ]);
  expect(sizes).toEqual([
    [20, 28, 32],
    [32, 40, 44],
  ]);
});

test('a simple reply has magic, error and cookie', () => {
  const reply = written(16, (target, at) => putSimpleReply(target, at, NbdError.ENOSPC, cookie));
  expect(reply).toEqual(hex('67446698', '0000001c', COOKIE));
});

test('a chunk has magic, flags, type, cookie and payload length', () => {
  const chunk = written(20, (target, at) =>
    structuredChunks.putHeader(target, at, REPLY_FLAG_DONE, ReplyChunk.NONE, cookie, 0),
  );
  expect(chunk).toEqual(hex('668e33ef', '0001', '0000', COOKIE, '00000000'));
});

test('the length of a data chunk counts the offset and the data', () => {
  const chunk = written(28, (target, at) =>
    putDataChunk(structuredChunks, target, at, REPLY_FLAG_DONE, cookie, 2 ** 40 + 0xffff_fe00, 512),
  );
  expect(chunk).toEqual(hex('668e33ef', '0001', '0001', COOKIE, '00000208', '00000100fffffe00'));
});

test('a hole chunk carries the offset and length of the hole', () => {
  const chunk = written(32, (target, at) => putHoleChunk(structuredChunks, target, at, 0, cookie, 2 ** 32, 65_536));
  expect(chunk).toEqual(hex('668e33ef', '0000', '0002', COOKIE, '0000000c', '0000000100000000', '00010000'));
});

test('an empty data or hole chunk is a bug', () => {
  const target = Buffer.alloc(32);
  expect(() => putDataChunk(structuredChunks, target, 0, 0, cookie, 0, 0)).toThrow();
  expect(() => putHoleChunk(structuredChunks, target, 0, 0, cookie, 0, 0)).toThrow();
});

test('an error chunk is final and counts its message in bytes', () => {
  expect(encodeErrorChunk(structuredChunks, NbdError.EIO, 'é', cookie)).toEqual(
    hex('668e33ef', '0001', '8001', COOKIE, '00000008', '00000005', '0002', 'c3a9'),
  );
  expect(encodeErrorChunk(structuredChunks, NbdError.EPERM, 'no', cookie).subarray(-2)).toEqual(hex(ascii('no')));
});

test('a block status chunk has the context id and a descriptor for each extent', () => {
  const extents = new ExtentList(8);
  extents.add(4096, 0);
  extents.add(0xffff_f000, 3);
  expect(encodeBlockStatusChunk(structuredChunks, REPLY_FLAG_DONE, 7, extents, cookie)).toEqual(
    hex('668e33ef', '0001', '0005', COOKIE, '00000014', '00000007', '00001000 00000000', 'fffff000 00000003'),
  );
});

test('an extended chunk has magic, flags, type, cookie, the offset of the request and a 64-bit length', () => {
  const put = (target: Buffer, at: number) =>
    extendedChunks.putHeader(target, at, REPLY_FLAG_DONE, ReplyChunk.NONE, cookie, 2 ** 33 + 7);
  expect(written(32, put)).toEqual(hex('6e8a278c', '0001', '0000', COOKIE, OFFSET, '0000000200000007'));
});

test('an extended chunk of data, a hole or an error has the payload of a structured one', () => {
  const data = written(40, (target, at) => putDataChunk(extendedChunks, target, at, 0, cookie, 2 ** 40, 512));
  expect(data).toEqual(hex('6e8a278c', '0000', '0001', COOKIE, OFFSET, '0000000000000208', '0000010000000000'));
  const hole = written(44, (target, at) => putHoleChunk(extendedChunks, target, at, 1, cookie, 2 ** 32, 512));
  expect(hole).toEqual(
    hex('6e8a278c', '0001', '0002', COOKIE, OFFSET, '000000000000000c', '0000000100000000', '00000200'),
  );
  expect(encodeErrorChunk(extendedChunks, NbdError.EIO, 'no', cookie)).toEqual(
    hex('6e8a278c', '0001', '8001', COOKIE, OFFSET, '0000000000000008', '00000005', '0002', ascii('no')),
  );
});

test('an extended block status chunk has the context id, a count and descriptors of 64 bits', () => {
  const extents = new ExtentList(8);
  extents.add(2 ** 44, 0);
  extents.add(4096, 3);
  expect(encodeBlockStatusChunk(extendedChunks, REPLY_FLAG_DONE, 7, extents, cookie)).toEqual(
    hex(
      ...['6e8a278c', '0001', '0006', COOKIE, OFFSET, '0000000000000028', '00000007', '00000002'],
      ...['0000100000000000', '0000000000000000', '0000000000001000', '0000000000000003'],
    ),
  );
});
