import { expect, test } from 'vitest';
import * as nbd from '../../src/protocol/constants.js';

/** A second table, typed from the protocol document, with the section that each row stands in. */
const document: Record<string, [section: string, actual: object, expected: Record<string, number>]> = {
  handshake: ['Handshake flags', nbd.HandshakeFlag, { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 }],
  transmission: [
    'Transmission flags',
    nbd.TransmissionFlag,
    {
      HAS_FLAGS: 1,
      READ_ONLY: 2,
      SEND_FLUSH: 4,
      SEND_FUA: 8,
      ROTATIONAL: 16,
      SEND_TRIM: 32,
      SEND_WRITE_ZEROES: 64,
      SEND_DF: 128,
      CAN_MULTI_CONN: 256,
      SEND_RESIZE: 512,
      SEND_CACHE: 1024,
      SEND_FAST_ZERO: 2048,
      BLOCK_STATUS_PAYLOAD: 4096,
    },
  ],
  options: [
    'Option types',
    nbd.Option,
    {
      EXPORT_NAME: 1,
      ABORT: 2,
      LIST: 3,
      PEEK_EXPORT: 4,
      STARTTLS: 5,
      INFO: 6,
      GO: 7,
      STRUCTURED_REPLY: 8,
      LIST_META_CONTEXT: 9,
      SET_META_CONTEXT: 10,
      EXTENDED_HEADERS: 11,
    },
  ],
  optionReplies: ['Option reply types', nbd.OptionReply, { ACK: 1, SERVER: 2, INFO: 3, META_CONTEXT: 4 }],
  optionErrors: [
    'Option reply types, errors',
    nbd.OptionError,
    {
      UNSUP: 0x80000001,
      POLICY: 0x80000002,
      INVALID: 0x80000003,
      PLATFORM: 0x80000004,
      TLS_REQD: 0x80000005,
      UNKNOWN: 0x80000006,
      SHUTDOWN: 0x80000007,
      BLOCK_SIZE_REQD: 0x80000008,
      TOO_BIG: 0x80000009,
      EXT_HEADER_REQD: 0x8000000a,
    },
  ],
  info: ['NBD_REP_INFO', nbd.InfoType, { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 }],
  commands: [
    'Request types',
    nbd.Command,
    { READ: 0, WRITE: 1, DISC: 2, FLUSH: 3, TRIM: 4, CACHE: 5, WRITE_ZEROES: 6, BLOCK_STATUS: 7 },
  ],
  commandFlags: [
    'Command flags',
    nbd.CommandFlag,
    { FUA: 1, NO_HOLE: 2, DF: 4, REQ_ONE: 8, FAST_ZERO: 16, PAYLOAD_LEN: 32 },
  ],
  chunks: [
    'Structured reply types',
    nbd.ReplyChunk,
    {
      NONE: 0,
      OFFSET_DATA: 1,
      OFFSET_HOLE: 2,
      BLOCK_STATUS: 5,
      BLOCK_STATUS_EXT: 6,
      ERROR: 32769,
      ERROR_OFFSET: 32770,
    },
  ],
  errors: [
    'Error values',
    nbd.NbdError,
    { NONE: 0, EPERM: 1, EIO: 5, ENOMEM: 12, EINVAL: 22, ENOSPC: 28, EOVERFLOW: 75, ENOTSUP: 95, ESHUTDOWN: 108 },
  ],
  allocation: ['base:allocation metadata context', nbd.AllocationStatus, { HOLE: 1, ZERO: 2 }],
};

test.each(Object.values(document))('1.1 "%s" agrees with the document', (_section, actual, expected) => {
  expect(actual).toEqual(expected);
});

test('1.1 the magic numbers agree with the document', () => {
  expect(Buffer.from(nbd.NBD_MAGIC).readBigUInt64BE()).toBe(0x4e42444d41474943n);
  expect(Buffer.from(nbd.OPTION_MAGIC).readBigUInt64BE()).toBe(0x49484156454f5054n);
  expect(nbd.OPTION_REPLY_MAGIC).toBe(0x3e889045565a9);
  expect([nbd.REQUEST_MAGIC, nbd.SIMPLE_REPLY_MAGIC, nbd.STRUCTURED_REPLY_MAGIC]).toEqual([
    0x25609513, 0x67446698, 0x668e33ef,
  ]);
  expect([nbd.EXTENDED_REQUEST_MAGIC, nbd.EXTENDED_REPLY_MAGIC]).toEqual([0x21e41c71, 0x6e8a278c]);
});
