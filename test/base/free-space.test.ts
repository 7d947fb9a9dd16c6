import type { StatsFs } from 'node:fs';
import { expect, test } from 'vitest';
import { freeBytes } from '../../src/base/free-space.js';

const facts: StatsFs = { type: 0, bsize: 4096, blocks: 1000, bfree: 50, bavail: 10, files: 0, ffree: 0 };

test('blocks reserved for root are not free', () => {
  expect(freeBytes(facts)).toBe(40_960);
});

test('space is unlimited if the file system reports no blocks', () => {
  expect(freeBytes({ ...facts, blocks: 0, bfree: 0, bavail: 0 })).toBe(Number.POSITIVE_INFINITY);
});
