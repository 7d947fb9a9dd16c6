import { describe, expect, test } from 'vitest';
import {
  decodeInfoBlockSize,
  decodeInfoExport,
  decodeInfoType,
  decodeMetaContext,
  decodeServerEntry,
  encodeClientFlags,
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOption,
  encodeRequest,
  encodeStatusPayload,
} from '../../src/protocol/client-codec.js';
import { Command, CommandFlag, Option } from '../../src/protocol/constants.js';
import { decodeStatusPayload } from '../../src/protocol/status-payload.js';
import { ascii, hex } from '../support/hex.js';

describe('messages to a server', () => {
  test('the client flags are 32 bits', () => {
    expect(encodeClientFlags(3)).toEqual(hex('00000003'));
  });

  test('an option has magic, number, length and data', () => {
    expect(encodeOption(Option.STRUCTURED_REPLY)).toEqual(hex(ascii('IHAVEOPT'), '00000008 00000000'));
    const named = encodeOption(Option.EXPORT_NAME, Buffer.from('disk'));
    expect(named).toEqual(hex(ascii('IHAVEOPT'), '00000001 00000004', ascii('disk')));
  });

  test('INFO data counts names in bytes and types in 16 bits', () => {
    expect(encodeInfoRequest('é', [0, 3])).toEqual(hex('00000002 c3a9', '0002 0000 0003'));
  });

  test('metadata queries are counted in 32 bits', () => {
    expect(encodeMetaContextRequest('d', ['a:', ''])).toEqual(
      hex('00000001', ascii('d'), '00000002', '00000002', ascii('a:'), '00000000'),
    );
  });

  test('a request has magic, flags, command, cookie, offset and length', () => {
    const request = {
      command: Command.WRITE_ZEROES,
      flags: CommandFlag.FUA | CommandFlag.FAST_ZERO,
      cookie: 2 ** 40 + 7,
      offset: 2 ** 44 + 512,
      length: 0xffff_fe00,
    };
    for (const form of ['simple', 'structured'] as const) {
      expect(encodeRequest(request, form)).toEqual(
        hex('25609513', '0011', '0006', '0000010000000007', '0000100000000200', 'fffffe00'),
      );
    }
    expect(encodeRequest({ ...request, length: 2 ** 44 }, 'extended')).toEqual(
      hex('21e41c71', '0011', '0006', '0000010000000007', '0000100000000200', '0000100000000000'),
    );
  });

  test('the header of an extended write says that its length is that of a payload', () => {
    const write = { command: Command.WRITE, flags: CommandFlag.FUA, cookie: 1, offset: 0, length: 512 };
    expect(encodeRequest(write, 'extended').readUInt16BE(4)).toBe(0x21);
    expect(encodeRequest(write, 'structured').readUInt16BE(4)).toBe(1);
  });

  test('the payload of a block-status request is a length and the ids of contexts', () => {
    const payload = hex('0000100000000000', '00000007', 'ffffffff');
    expect(encodeStatusPayload(2 ** 44, [7, 2 ** 32 - 1])).toEqual(payload);
    expect(decodeStatusPayload(payload)).toEqual({ length: 2 ** 44, contextIds: [7, 2 ** 32 - 1] });
  });
});

describe('messages from a server', () => {
  test('a LIST entry has a counted name, and the rest is its description', () => {
    const entry = hex('00000002 c3a9', ascii('text'));
    expect(decodeServerEntry(entry)).toEqual({ exportName: 'é', description: 'text' });
    for (let length = 0; length < 6; length++) expect(decodeServerEntry(entry.subarray(0, length))).toBeUndefined();
    expect(decodeServerEntry(entry.subarray(0, 6))).toEqual({ exportName: 'é', description: '' });
  });

  test('a LIST entry with text that is not UTF-8 is refused', () => {
    expect(decodeServerEntry(hex('00000001 ff'))).toBeUndefined();
    expect(decodeServerEntry(hex('00000000 ff'))).toBeUndefined();
  });

  test('a metadata context has its id before its name', () => {
    expect(decodeMetaContext(hex('01020304', ascii('a:b')))).toEqual({ contextId: 0x01020304, name: 'a:b' });
    expect(decodeMetaContext(hex('010203'))).toBeUndefined();
    expect(decodeMetaContext(hex('00000001 ff'))).toBeUndefined();
  });

  test('the information type is the first 16 bits', () => {
    expect(decodeInfoType(hex('0003 ffff'))).toBe(3);
    expect(decodeInfoType(hex('00'))).toBeUndefined();
  });

  test('export information has exactly 12 bytes', () => {
    const info = hex('0000', '0000010000000000', '0105');
    expect(decodeInfoExport(info)).toMatchObject({ size: 2 ** 40, flags: 0x0105 });
    for (let length = 0; length < 12; length++) expect(decodeInfoExport(info.subarray(0, length))).toBeUndefined();
    expect(decodeInfoExport(Buffer.concat([info, Buffer.alloc(1)]))).toBeUndefined();
  });

  test('block size information has exactly 14 bytes', () => {
    const info = hex('0003 00000200 00001000 02000000');
    expect(decodeInfoBlockSize(info)).toMatchObject({ minimum: 512, preferred: 4096, maximum: 2 ** 25 });
    for (let length = 0; length < 14; length++) expect(decodeInfoBlockSize(info.subarray(0, length))).toBeUndefined();
    expect(decodeInfoBlockSize(Buffer.concat([info, Buffer.alloc(1)]))).toBeUndefined();
  });
});
