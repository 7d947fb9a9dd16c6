import { openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { EIO, ENOSPC, ESHUTDOWN, errnoName, errnoOf } from '../../src/base/errno.js';

test('a failed file system call has its own number, any other error EIO', () => {
  let caught: unknown;
  try {
    openSync('/nowhere/at/all', 'r');
  } catch (error) {
    caught = error;
  }
  expect(errnoName(errnoOf(caught))).toBe('ENOENT');
  expect(errnoOf(new Error('no number'))).toBe(EIO);
});

test('numbers have names', () => {
  expect([ENOSPC, ESHUTDOWN, 4711].map(errnoName)).toEqual(['ENOSPC', 'ESHUTDOWN', 'errno 4711']);
});
