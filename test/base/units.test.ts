import { expect, test } from 'vitest';
import {
  formatCount,
  formatExactSize,
  formatSize,
  GIB,
  isPowerOfTwo,
  KIB,
  MIB,
  parseMilliseconds,
  parseSize,
  TIB,
} from '../../src/base/units.js';

test.each([
  ['512', 512],
  ['64K', 64 * KIB],
  ['64k', 64 * KIB],
  ['64KiB', 64 * KIB],
  ['10M', 10 * MIB],
  ['1g', GIB],
  ['16T', 16 * TIB],
  ['0', 0],
])('"%s" is %d bytes', (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(['', 'K', '1.5G', '-1', '1P', '64 K B', '9999999999999T'])('"%s" is not a size', (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test.each([
  ['50us', 0.05],
  ['1ms', 1],
  ['1500ms', 1500],
  ['5s', 5000],
])('"%s" is %d ms', (text, milliseconds) => {
  expect(parseMilliseconds(text)).toBe(milliseconds);
});

test.each(['', '5', 'ms', '1.5ms', '-1s', '1m', '1 ms', '9999999999s'])('"%s" is not a time', (text) => {
  expect(parseMilliseconds(text)).toBeUndefined();
});

test('formatSize rounds for people', () => {
  expect([0, 512, 64 * KIB, 1.5 * GIB, 16 * TIB].map(formatSize)).toEqual([
    '0 B',
    '512 B',
    '64 KiB',
    '1.5 GiB',
    '16 TiB',
  ]);
});

test('formatExactSize does not round', () => {
  expect([0, 512, 1000, 64 * KIB, 1.5 * GIB, 16 * TIB].map(formatExactSize)).toEqual([
    '0 B',
    '512 B',
    '1000 B',
    '64 KiB',
    '1536 MiB',
    '16 TiB',
  ]);
});

test('powers of two', () => {
  expect([1, 512, 2 ** 31, 2 ** 40].every(isPowerOfTwo)).toBe(true);
  expect([0, -2, 3, 513, 2 ** 31 + 1].some(isPowerOfTwo)).toBe(false);
});

test('a count of one takes the singular', () => {
  expect([0, 1, 2].map((count) => formatCount(count, 'client'))).toEqual(['0 clients', '1 client', '2 clients']);
});
