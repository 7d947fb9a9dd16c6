import { expect, test } from 'vitest';
import { Command, CommandFlag } from '../../src/protocol/constants.js';
import { commandName, cookieText, flagNames } from '../../src/protocol/request-names.js';

test('a command has its name in the protocol document, and an unknown one is shown by its number', () => {
  const { READ, WRITE_ZEROES } = Command;
  expect([READ, WRITE_ZEROES, 42].map(commandName)).toEqual(['NBD_CMD_READ', 'NBD_CMD_WRITE_ZEROES', 'command 42']);
});

test('flags have their names, and unknown ones are shown together', () => {
  expect(flagNames(0)).toEqual([]);
  expect(flagNames(CommandFlag.FUA | CommandFlag.FAST_ZERO)).toEqual(['FUA', 'FAST_ZERO']);
  expect(flagNames(CommandFlag.DF | (1 << 9) | (1 << 15))).toEqual(['DF', '0x8200']);
});

test('a cookie is shown byte by byte', () => {
  expect(cookieText({ cookieHigh: 0, cookieLow: 7 })).toBe('0x0000000000000007');
  expect(cookieText({ cookieHigh: -1, cookieLow: 0x0a_0b_0c_0d })).toBe('0xffffffff0a0b0c0d');
});
