import { describe, expect, test } from 'vitest';
import { Command, CommandFlag, NbdError } from '../../src/protocol/constants.js';
import {
  REQUEST_BYTES,
  REQUEST_COMMAND_AT,
  REQUEST_COOKIE_AT,
  REQUEST_FLAGS_AT,
  REQUEST_LENGTH_AT,
  REQUEST_OFFSET_AT,
  type RequestRules,
  readUInt64,
  validateRequest,
} from '../../src/protocol/request.js';
import { hex } from '../support/hex.js';

const SIZE = 1_000_000;
const MAX_PAYLOAD = 65_536;
const rules: RequestRules = {
  readOnly: false,
  structuredReplies: true,
  blockBytes: 1,
  hasContexts: true,
  maxPayloadBytes: MAX_PAYLOAD,
};

interface Case {
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  readonly sizeBytes?: number;
  readonly rules?: Partial<RequestRules>;
}

function verdict(command: number, { flags = 0, offset = 0, length = 512, sizeBytes = SIZE, rules: other }: Case = {}) {
  return validateRequest(command, flags, offset, length, sizeBytes, { ...rules, ...other });
}

const { READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command;
const { NONE, EPERM, EINVAL, ENOSPC, EOVERFLOW } = NbdError;
const ranged = [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS];

test('the fields of a request lie where the document puts them', () => {
  expect(REQUEST_BYTES).toBe(28);
  expect([REQUEST_FLAGS_AT, REQUEST_COMMAND_AT, REQUEST_COOKIE_AT, REQUEST_OFFSET_AT, REQUEST_LENGTH_AT]).toEqual([
    4, 6, 8, 16, 24,
  ]);
});

test('a 64-bit offset is exact up to 2^53, and an inexact one lies beyond every disk', () => {
  expect(readUInt64(hex('ff 001fffffffffffff'), 1)).toBe(2 ** 53 - 1);
  expect(readUInt64(hex('00000000 ffffffff'), 0)).toBe(2 ** 32 - 1);
  expect(readUInt64(hex('ffffffffffffffff'), 0)).toBeGreaterThan(Number.MAX_SAFE_INTEGER);
});

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
    ['an unknown flag', 1 << 5, []],
  ])('%s is valid only where it means something', (_name, flags, allowed) => {
    for (const command of [...ranged, FLUSH]) {
      const expected = (allowed as number[]).includes(command) ? NONE : EINVAL;
      expect(verdict(command, { flags }), `command ${command}`).toBe(expected);
    }
  });

  test('DF needs structured replies', () => {
    expect(verdict(READ, { flags: CommandFlag.DF, rules: { structuredReplies: false } })).toBe(EINVAL);
  });

  test('block status needs a selected context and a length', () => {
    expect(verdict(BLOCK_STATUS, { rules: { hasContexts: false } })).toBe(EINVAL);
    expect(verdict(BLOCK_STATUS, { length: 0 })).toBe(EINVAL);
  });

  test('DISC is accepted whatever else the request says', () => {
    expect(verdict(DISC, { flags: 0xffff, offset: 2 ** 60, length: 2 ** 32 - 1 })).toBe(NONE);
  });

  test('the range of a FLUSH is ignored', () => {
    expect(verdict(FLUSH, { offset: 2 ** 60, length: 1, rules: { blockBytes: 4096, readOnly: true } })).toBe(NONE);
  });
});

describe('a read-only export', () => {
  test('refuses changes with EPERM before it looks at their range', () => {
    for (const command of [WRITE, TRIM, WRITE_ZEROES]) {
      expect(verdict(command, { offset: 2 * SIZE, rules: { readOnly: true } })).toBe(EPERM);
    }
  });

  test('allows everything else', () => {
    for (const command of [READ, CACHE, BLOCK_STATUS])
      expect(verdict(command, { rules: { readOnly: true } })).toBe(NONE);
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
    const aligned = { offset: 2 ** 33, length: 4096, sizeBytes: 2 ** 40, rules: { blockBytes: 4096 } };
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
    }
  });
});
