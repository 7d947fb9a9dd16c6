import type { StatsFs } from 'node:fs';
import { expect, test } from 'vitest';
import { freeBytes } from '../../src/base/free-space.js';

const facts: StatsFs = { type: 0, bsize: 4096, blocks: 1000, bfree: 50, bavail: 10, files: 0, ffree: 0 };

test('what is kept for root is not free', () => {
  expect(freeBytes(facts)).toBe(40_960);
});

test('where nothing is told there is room', () => {
  expect(freeBytes({ ...facts, blocks: 0, bfree: 0, bavail: 0 })).toBe(Number.POSITIVE_INFINITY);
});
