import { describe, expect, test } from 'vitest';
import { readUInt64 } from '../../src/base/big-endian.js';
import { Command, CommandFlag, NbdError } from '../../src/protocol/constants.js';
import { Request } from '../../src/protocol/request.js';
import { type RequestTerms, validateRequest } from '../../src/protocol/validate-request.js';
import { hex } from '../support/hex.js';

const SIZE = 1_000_000;
const MAX_PAYLOAD = 65_536;
const terms: RequestTerms = {
  readOnly: false,
  replies: 'structured',
  blockBytes: 1,
  contextCount: 2,
  maxPayloadBytes: MAX_PAYLOAD,
};

interface Case {
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly payloadBytes?: number;
  readonly sizeBytes?: number;
  readonly terms?: Partial<RequestTerms>;
}

function brokenRule(
  command: number,
  { flags = 0, offset = 0, length = 512, payloadBytes = 0, sizeBytes = SIZE, terms: other }: Case = {},
) {
  const request = Object.assign(new Request(), { command, flags, offset, length, payloadBytes });
  return validateRequest(request, sizeBytes, { ...terms, ...other });
}

function verdict(command: number, one?: Case): NbdError {
  return brokenRule(command, one)?.error ?? NONE;
}

const { READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command;
const { NONE, EPERM, EINVAL, ENOSPC, EOVERFLOW } = NbdError;
const ranged = [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS];

describe('the command and its flags', () => {
  test('every known command is accepted with FUA', () => {
    for (const command of [...ranged, FLUSH]) expect(verdict(command, { flags: CommandFlag.FUA })).toBe(NONE);
  });

  test('an unknown command is invalid', () => {
    expect(verdict(8)).toBe(EINVAL);
    expect(verdict(65_535)).toBe(EINVAL);
  });

  test.each([
    ['DF', CommandFlag.DF, [READ]],
    ['REQ_ONE', CommandFlag.REQ_ONE, [BLOCK_STATUS]],
    ['NO_HOLE', CommandFlag.NO_HOLE, [WRITE_ZEROES]],
    ['FAST_ZERO', CommandFlag.FAST_ZERO, [WRITE_ZEROES]],
    ['PAYLOAD_LEN', CommandFlag.PAYLOAD_LEN, []],
    ['an unknown flag', 1 << 6, []],
  ])('%s is valid only where it means something', (_name, flags, allowed) => {
    for (const command of [...ranged, FLUSH]) {
      const expected = (allowed as number[]).includes(command) ? NONE : EINVAL;
      expect(verdict(command, { flags }), `command ${command}`).toBe(expected);
    }
  });

  test('DF needs structured replies', () => {
    expect(verdict(READ, { flags: CommandFlag.DF, terms: { replies: 'simple' } })).toBe(EINVAL);
  });

  test('block status needs a selected context and a length', () => {
    expect(verdict(BLOCK_STATUS, { terms: { contextCount: 0 } })).toBe(EINVAL);
    expect(verdict(BLOCK_STATUS, { length: 0 })).toBe(EINVAL);
  });

  test('with extended headers, PAYLOAD_LEN is valid for WRITE and BLOCK_STATUS, and all else is as before', () => {
    const extended = (command: number, flags: number) => verdict(command, { flags, terms: { replies: 'extended' } });
    for (const command of [...ranged, FLUSH]) {
      const mayHavePayload = command === WRITE || command === BLOCK_STATUS;
      expect(extended(command, CommandFlag.PAYLOAD_LEN), `command ${command}`).toBe(mayHavePayload ? NONE : EINVAL);
      for (const flag of [0, ...Object.values(CommandFlag).filter((flag) => flag !== CommandFlag.PAYLOAD_LEN)]) {
        expect(extended(command, flag)).toBe(verdict(command, { flags: flag }));
      }
    }
  });

  test('the payload of a block-status request names between one and all of the contexts', () => {
    const flags = CommandFlag.PAYLOAD_LEN;
    const withPayload = (payloadBytes: number, contextCount = 2) =>
      verdict(BLOCK_STATUS, {
        flags,
        length: payloadBytes,
        payloadBytes,
        terms: { replies: 'extended', contextCount },
      });
    expect([12, 16].map((bytes) => withPayload(bytes))).toEqual([NONE, NONE]);
    expect([1, 8, 11, 13, 20, 2 ** 40].map((bytes) => withPayload(bytes))).toEqual(Array(6).fill(EINVAL));
    expect(withPayload(12, 0)).toBe(EINVAL);
  });

  test('the range of a block-status request is not known before its payload', () => {
    const payload = { flags: CommandFlag.PAYLOAD_LEN, length: 12, payloadBytes: 12, offset: 2 * SIZE };
    expect(verdict(BLOCK_STATUS, { ...payload, terms: { replies: 'extended', blockBytes: 4096 } })).toBe(NONE);
  });

  test('DISC is accepted whatever else the request says', () => {
    expect(verdict(DISC, { flags: 0xffff, offset: 2 ** 60, length: 2 ** 32 - 1 })).toBe(NONE);
  });

  test('the range of a FLUSH is ignored', () => {
    expect(verdict(FLUSH, { offset: 2 ** 60, length: 1, terms: { blockBytes: 4096, readOnly: true } })).toBe(NONE);
  });
});

describe('a read-only export', () => {
  test('refuses changes with EPERM before it looks at their range', () => {
    for (const command of [WRITE, TRIM, WRITE_ZEROES]) {
      expect(verdict(command, { offset: 2 * SIZE, terms: { readOnly: true } })).toBe(EPERM);
    }
  });

  test('allows everything else', () => {
    for (const command of [READ, CACHE, BLOCK_STATUS])
      expect(verdict(command, { terms: { readOnly: true } })).toBe(NONE);
  });
});

describe('the range', () => {
  const beyond = new Map<number, NbdError>([
    [WRITE, ENOSPC],
    [WRITE_ZEROES, ENOSPC],
  ]);

  test.each(ranged)('of command %i may end at the end of the export and not one byte later', (command) => {
    const error = beyond.get(command) ?? EINVAL;
    expect(verdict(command, { offset: SIZE - 512 })).toBe(NONE);
    expect(verdict(command, { offset: SIZE - 511 })).toBe(error);
    expect(verdict(command, { offset: SIZE + 1, length: 0 })).toBe(error);
    expect(verdict(command, { offset: readUInt64(hex('ffffffffffffffff'), 0) })).toBe(error);
  });

  test('may be empty at the end of the export', () => {
    for (const command of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES]) {
      expect(verdict(command, { offset: SIZE, length: 0 })).toBe(NONE);
    }
  });

  test.each(ranged)('of command %i is whole blocks, also above 4 GiB', (command) => {
    const aligned = { offset: 2 ** 33, length: 4096, sizeBytes: 2 ** 40, terms: { blockBytes: 4096 } };
    expect(verdict(command, aligned)).toBe(NONE);
    expect(verdict(command, { ...aligned, offset: 2 ** 33 + 512 })).toBe(EINVAL);
    expect(verdict(command, { ...aligned, length: 512 })).toBe(EINVAL);
  });
});

describe('the payload', () => {
  test('of a read above the limit is an overflow, and of a write invalid', () => {
    expect(verdict(READ, { length: MAX_PAYLOAD })).toBe(NONE);
    expect(verdict(WRITE, { length: MAX_PAYLOAD })).toBe(NONE);
    expect(verdict(READ, { length: MAX_PAYLOAD + 1 })).toBe(EOVERFLOW);
    expect(verdict(WRITE, { length: MAX_PAYLOAD + 1 })).toBe(EINVAL);
  });

  test('limit does not apply to commands without payload', () => {
    for (const command of [TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS]) {
      expect(verdict(command, { length: MAX_PAYLOAD + 1 })).toBe(NONE);
      expect(verdict(command, { length: 2 ** 44, sizeBytes: 2 ** 44, terms: { replies: 'extended' } })).toBe(NONE);
    }
  });
});

/** Every rule, with a request that breaks it and no other. */
const sentences: readonly [sentence: string, error: NbdError, command: number, one: Case][] = [
  ['the server does not know command 99', EINVAL, 99, {}],
  [
    'NBD_CMD_WRITE does not accept the flags 0x204',
    EINVAL,
    WRITE,
    { flags: CommandFlag.FUA | CommandFlag.DF | (1 << 9) },
  ],
  ['the export is read-only', EPERM, TRIM, { terms: { readOnly: true } }],
  ['the range is not inside the export, which is 1000000 bytes long', ENOSPC, WRITE, { offset: SIZE - 511 }],
  ['the range is not inside the export, which is 1000000 bytes long', EINVAL, READ, { offset: 2 * SIZE, length: 0 }],
  [
    'offset and length must be multiples of 4096, the minimum block size of the export',
    EINVAL,
    CACHE,
    { terms: { blockBytes: 4096 } },
  ],
  [
    'NBD_CMD_READ is limited to 65536 bytes in one request (this one has 65537)',
    EOVERFLOW,
    READ,
    { length: MAX_PAYLOAD + 1 },
  ],
  [
    'NBD_CMD_WRITE is limited to 65536 bytes in one request (this one has 65537)',
    EINVAL,
    WRITE,
    { length: MAX_PAYLOAD + 1 },
  ],
  [
    'the flag DF needs structured replies, which were not negotiated',
    EINVAL,
    READ,
    { flags: CommandFlag.DF, terms: { replies: 'simple' } },
  ],
  [
    'NBD_CMD_BLOCK_STATUS needs a metadata context, and none is selected',
    EINVAL,
    BLOCK_STATUS,
    { terms: { contextCount: 0 } },
  ],
  [
    'the payload of NBD_CMD_BLOCK_STATUS is a length and the ids of 1 to 2 contexts, not 20 bytes',
    EINVAL,
    BLOCK_STATUS,
    { flags: CommandFlag.PAYLOAD_LEN, payloadBytes: 20, terms: { replies: 'extended' } },
  ],
  ['NBD_CMD_BLOCK_STATUS needs a length above 0', EINVAL, BLOCK_STATUS, { length: 0 }],
];

test.each(sentences)('a broken rule is described in words: %s', (sentence, error, command, one) => {
  expect(brokenRule(command, one)).toEqual({ error, sentence });
});
