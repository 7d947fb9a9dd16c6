import { expect, test } from 'vitest';
import { readInt32, readUInt64, writeInt32, writeUInt64 } from '../../src/base/big-endian.js';
import { Command, CommandFlag } from '../../src/protocol/constants.js';
import { ExtendedRequest, Request, requestFor } from '../../src/protocol/request.js';
import { hex } from '../support/hex.js';

/** A write of 4096 bytes at 2^40 + 512 with FUA, between other bytes. */
const bytes = hex('eeee', '25609513 0001 0001', 'fedcba9876543210', '0000010000000200', '00001000', 'eeee');

test('the fields of a request are read from where the document puts them', () => {
  const request = new Request();
  expect(request.parse(bytes, 2)).toBe(true);
  expect({ ...request }).toEqual({
    flags: CommandFlag.FUA,
    command: Command.WRITE,
    cookieHigh: 0xfedcba98 | 0,
    cookieLow: 0x76543210,
    offsetHigh: 0,
    offsetLow: 0,
    offset: 2 ** 40 + 512,
    length: 4096,
    payloadBytes: 4096,
  });
  expect(request.headerBytes).toBe(28);
});

test('anything other than a request is not parsed, and changes nothing', () => {
  const request = new Request();
  expect([request.parse(bytes, 1), request.parse(bytes, 3)]).toEqual([false, false]);
  expect(request).toEqual(new Request());
});

test('a record takes one request after the other, whatever their sizes', () => {
  const request = new Request();
  request.parse(bytes, 2);
  expect(request.parse(hex('25609513 ffff ffff', 'ffffffffffffffff', 'ffffffffffffffff', 'ffffffff'), 0)).toBe(true);
  expect([request.flags, request.command, request.length]).toEqual([0xffff, 0xffff, 2 ** 32 - 1]);
  expect([request.cookieHigh, request.cookieLow]).toEqual([-1, -1]);
});

test.each(Object.entries(Command))(
  '%s: only a write has a payload, and with extended headers whatever says so',
  (_name, command) => {
    const payloadOf = (request: Request, flags: number, ...parts: string[]) => {
      const header = hex(parts[0]!, '0000 0000', '00'.repeat(8), '00'.repeat(8), parts[1]!);
      header.writeUInt16BE(flags, 4);
      header.writeUInt16BE(command, 6);
      expect(request.parse(header, 0)).toBe(true);
      return request.payloadBytes;
    };
    const isWrite = command === Command.WRITE;
    const compact = (flags: number) => payloadOf(new Request(), flags, '25609513', '00000010');
    const extended = (flags: number) => payloadOf(new ExtendedRequest(), flags, '21e41c71', '0000000000000010');
    expect([compact(0), compact(CommandFlag.PAYLOAD_LEN)]).toEqual(isWrite ? [16, 16] : [0, 0]);
    expect([extended(0), extended(CommandFlag.PAYLOAD_LEN)]).toEqual([isWrite ? 16 : 0, 16]);
  },
);

test('the fields of an extended request are read, and the offset is kept to the bit', () => {
  const request = requestFor('extended');
  const header = hex('ee', '21e41c71 0021 0006', 'fedcba9876543210', 'ffffffff80000001', '0000100000000200');
  expect(request.parse(header, 1)).toBe(true);
  expect({ ...request }).toEqual({
    flags: CommandFlag.FUA | CommandFlag.PAYLOAD_LEN,
    command: Command.WRITE_ZEROES,
    cookieHigh: 0xfedcba98 | 0,
    cookieLow: 0x76543210,
    offsetHigh: -1,
    offsetLow: 0x80000001 | 0,
    offset: 0xffffffff * 2 ** 32 + 0x80000001,
    length: 2 ** 44 + 512,
    payloadBytes: 2 ** 44 + 512,
  });
  expect(request.headerBytes).toBe(32);
});

test('each form of request is known by its own magic only', () => {
  const compact = Buffer.concat([bytes, Buffer.alloc(8)]);
  const extended = hex('21e41c71', '00'.repeat(28));
  expect([requestFor('simple').parse(compact, 2), requestFor('extended').parse(compact, 2)]).toEqual([true, false]);
  expect([requestFor('structured').parse(extended, 0), requestFor('extended').parse(extended, 0)]).toEqual([
    false,
    true,
  ]);
});

test('a copy keeps its values when the record is filled again', () => {
  const request = new Request();
  request.parse(bytes, 2);
  const copy = new Request();
  copy.copyFrom(request);
  request.parse(hex('25609513 0000 0000', '00', '00'.repeat(19)), 0);
  expect([copy.command, copy.cookieHigh, copy.offset]).toEqual([Command.WRITE, 0xfedcba98 | 0, 2 ** 40 + 512]);
});

test('a 64-bit offset is exact up to 2^53, and an inexact one lies beyond every disk', () => {
  expect(readUInt64(hex('ff 001fffffffffffff'), 1)).toBe(2 ** 53 - 1);
  expect(readUInt64(hex('00000000 ffffffff'), 0)).toBe(2 ** 32 - 1);
  expect(readUInt64(hex('ffffffffffffffff'), 0)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
});

test('a 64-bit number is written as it is read', () => {
  const target = Buffer.alloc(10, 0xee);
  for (const value of [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1]) {
    writeUInt64(target, 1, value);
    expect(readUInt64(target, 1)).toBe(value);
  }
  expect(target).toEqual(hex('ee 001fffffffffffff ee'));
});

test('a signed 32-bit number is read and written as Buffer does it', () => {
  const target = Buffer.alloc(6, 0xee);
  for (const value of [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 0x12345678, 0xfedcba98 | 0]) {
    writeInt32(target, 1, value);
    expect([target.readInt32BE(1), readInt32(target, 1)]).toEqual([value, value]);
  }
  expect(target).toEqual(hex('ee fedcba98 ee'));
});
