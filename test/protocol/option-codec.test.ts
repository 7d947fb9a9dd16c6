import { describe, expect, test } from 'vitest';
import { InfoType, Option, OptionError, OptionReply } from '../../src/protocol/constants.js';
import {
  decodeInfoRequest,
  decodeMetaContextRequest,
  decodeOptionHeader,
  decodeString,
  encodeExportNameReply,
  encodeInfoBlockSize,
  encodeInfoExport,
  encodeInfoText,
  encodeMetaContext,
  encodeOptionReply,
  encodeServerEntry,
  InvalidOption,
  OPTION_HEADER_BYTES,
} from '../../src/protocol/option-codec.js';
import { ascii, hex } from '../support/hex.js';

const REPLY_MAGIC = '0003e889045565a9';

describe('option data from a client', () => {
  const info = hex('00000004', ascii('disk'), '0002', '0000 0003');
  const contexts = hex('00000004', ascii('disk'), '00000002', '00000002', ascii('a:'), '00000003', ascii('b:c'));

  test('begins with a magic, the option and the length of the data', () => {
    const option = hex('ee', ascii('IHAVEOPT'), '00000007', 'ffffffff');
    expect(decodeOptionHeader(option, 1)).toEqual({ option: Option.GO, length: 2 ** 32 - 1 });
    expect(OPTION_HEADER_BYTES).toBe(16);
    expect(decodeOptionHeader(hex(ascii('IHAVEOPTS'), '00000007 00000000'), 1)).toBeUndefined();
  });

  test('INFO and GO carry an export name and information types', () => {
    expect(decodeInfoRequest(info)).toEqual({ exportName: 'disk', infoTypes: [0, 3] });
  });

  test('an empty export name and an empty list are valid', () => {
    expect(decodeInfoRequest(hex('00000000 0000'))).toEqual({ exportName: '', infoTypes: [] });
  });

  test('the metadata options carry an export name and queries', () => {
    expect(decodeMetaContextRequest(contexts)).toEqual({ exportName: 'disk', queries: ['a:', 'b:c'], queryCount: 2 });
  });

  test.each([
    { name: 'INFO', decode: decodeInfoRequest, data: info },
    { name: 'SET_META_CONTEXT', decode: decodeMetaContextRequest, data: contexts },
  ])('$name data cut short anywhere, or one byte too long, is invalid', ({ decode, data }) => {
    for (let length = 0; length < data.length; length++) {
      expect(decode(data.subarray(0, length)), `${length} bytes`).toMatchObject({ error: OptionError.INVALID });
    }
    expect(decode(Buffer.concat([data, Buffer.alloc(1)]))).toBeInstanceOf(InvalidOption);
  });

  test('a length that points far past the end is invalid', () => {
    expect(decodeInfoRequest(hex('ffffffff', ascii('disk'), '0000'))).toBeInstanceOf(InvalidOption);
    expect(decodeMetaContextRequest(hex('00000000 00000001 ffffffff'))).toBeInstanceOf(InvalidOption);
  });

  test('1024 queries are decoded, and one more is too big', () => {
    const withQueries = (count: number) => Buffer.concat([hex('00000000'), u32(count), Buffer.alloc(4 * count)]);
    expect(decodeMetaContextRequest(withQueries(1024))).toMatchObject({ queryCount: 1024 });
    expect(decodeMetaContextRequest(withQueries(1025))).toMatchObject({ error: OptionError.TOO_BIG });
    // The count is refused before the queries are looked for.
    expect(decodeMetaContextRequest(hex('00000000 ffffffff'))).toMatchObject({ error: OptionError.TOO_BIG });
  });

  test('a query that is not a string of the protocol is left out but counted', () => {
    const data = hex('00000000 00000003', '00000001 ff', '00000001 00', '00000001', ascii('a'));
    expect(decodeMetaContextRequest(data)).toEqual({ exportName: '', queries: ['a'], queryCount: 3 });
  });

  test('a string is at most 4096 bytes of UTF-8 without NUL', () => {
    expect(decodeString(Buffer.alloc(4096, 'a'))).toHaveLength(4096);
    expect(decodeString(Buffer.alloc(4097, 'a'))).toBeUndefined();
    expect(decodeString(hex('61 00 62'))).toBeUndefined();
    expect(decodeString(hex('c3'))).toBeUndefined();
    expect(decodeString(hex('efbbbf c3a9'))).toBe('\u{feff}\u{e9}');
  });
});

describe('option replies to a client', () => {
  test('a reply has magic, option, type, length and data', () => {
    expect(encodeOptionReply(Option.GO, OptionReply.ACK)).toEqual(hex(REPLY_MAGIC, '00000007 00000001 00000000'));
    const error = encodeOptionReply(Option.LIST, OptionError.UNKNOWN, Buffer.from('no'));
    expect(error).toEqual(hex(REPLY_MAGIC, '00000003 80000006 00000002', ascii('no')));
  });

  test('the EXPORT_NAME reply is padded with 124 zero bytes unless they were waived', () => {
    const size = 0x1_2345_6789;
    expect(encodeExportNameReply(size, 0x010d, false)).toEqual(hex('00000001 23456789 010d'));
    expect(encodeExportNameReply(size, 0x010d, true)).toEqual(
      Buffer.concat([hex('00000001 23456789 010d'), Buffer.alloc(124)]),
    );
  });

  test('information starts with its type', () => {
    expect(encodeInfoExport(2 ** 40, 0x0105)).toEqual(hex('0000', '0000010000000000', '0105'));
    expect(encodeInfoText(InfoType.DESCRIPTION, 'é')).toEqual(hex('0002 c3a9'));
    expect(encodeInfoBlockSize(1, 4096, 2 ** 25)).toEqual(hex('0003 00000001 00001000 02000000'));
  });

  test('a name is counted in bytes, and a description takes the rest', () => {
    expect(encodeServerEntry('é', 'x')).toEqual(hex('00000002 c3a9', ascii('x')));
  });

  test('a metadata context has its id before its name', () => {
    expect(encodeMetaContext(0x01020304, 'a:b')).toEqual(hex('01020304', ascii('a:b')));
  });
});

function u32(value: number): Buffer {
  return hex(value.toString(16).padStart(8, '0'));
}
