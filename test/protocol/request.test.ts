import { expect, test } from 'vitest';
import { readInt32, readUInt64, writeInt32, writeUInt64 } from '../../src/base/big-endian.js';
import { Command, CommandFlag } from '../../src/protocol/constants.js';
import { REQUEST_BYTES, Request } from '../../src/protocol/request.js';
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
    offset: 2 ** 40 + 512,
    length: 4096,
  });
  expect(REQUEST_BYTES).toBe(28);
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

test('only a write has a payload', () => {
  const request = new Request();
  request.parse(bytes, 2);
  expect(request.payloadBytes).toBe(4096);
  for (const command of Object.values(Command)) {
    request.command = command;
    expect(request.payloadBytes).toBe(command === Command.WRITE ? 4096 : 0);
  }
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
