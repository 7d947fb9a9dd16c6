import { expect, test } from 'vitest';
import { KIB } from '../../src/base/units.js';
import { ExplainedWrites, HandedWrites, placeOf } from '../../src/bitmap/explained-writes.js';
import type { CountingFacts } from '../../src/storage/image/write-counters.js';

/** Sectors of a change of 4 KiB that lies in one block of the page cache. */
const BLOCK = process.arch === 'x64' ? 8 : 128;

function scene(counted = 1000, counting: CountingFacts = { blockBytes: 512 }) {
  const memory = { parts: new Float64Array(3), ended: new Float64Array(3) };
  const cell = memory.parts;
  const explained = new ExplainedWrites(memory, counted, counting);
  const other = new HandedWrites(memory, counting, placeOf(1));
  const write = (offset = 0, length = 4 * KIB) => explained.over(explained.began(offset, length));
  return { cell, explained, other, write, compare: (count: number) => explained.compare(async () => count) };
}

test('the limit grows by whole blocks before a change is made, and is kept in the memory given', () => {
  const { cell, explained } = scene();
  expect(explained.began(0, 4 * KIB)).toBe(BLOCK);
  expect(cell[0]).toBe(1000 + BLOCK);
  expect(explained.began(64 * KIB - 1, 2)).toBe(2 * BLOCK);
  expect(explained.limit).toBe(1000 + 3 * BLOCK);
});

test('a device with blocks larger than a page is written in its blocks', () => {
  const { explained } = scene(1000, { blockBytes: 128 * KIB });
  expect(explained.began(128 * KIB - 1, 2)).toBe(512);
});

test('a write at either end of a partition explains a request that covers the neighbouring one too', () => {
  const partition = { sizeBytes: 1024 * KIB, requestBytes: 512 * KIB };
  const { explained } = scene(1000, { blockBytes: 512, partition });
  expect(explained.began(0, 512)).toBe(BLOCK + 1024);
  expect(explained.began(128 * KIB, 512)).toBe(BLOCK);
  expect(explained.began(1024 * KIB - 512, 512)).toBe(BLOCK + 1024);
});

test('zeroing explains two attempts and the zeroes that are written instead, and the blocks at both ends', () => {
  const { explained } = scene();
  expect(explained.beganZeroing(0, 64 * KIB)).toBe(3 * 128 + 2 * BLOCK);
});

test('a change that the device did not take does not count', () => {
  const { explained } = scene();
  explained.refused(explained.began(0, 512));
  expect(explained.limit).toBe(1000);
});

test('a count up to the limit is explained, a higher one is not', async () => {
  const { write, compare } = scene();
  write();
  expect(await compare(1000 + BLOCK)).toBe(true);
  expect(await compare(1001 + BLOCK)).toBe(false);
});

test('a flush lowers the limit by what was overwritten in the page cache', async () => {
  const { explained, write, compare } = scene();
  for (let i = 0; i < 5; i++) write();
  const succeeded = explained.flushing();
  write();
  succeeded();
  expect(await compare(1000 + BLOCK)).toBe(true);
  expect(explained.limit).toBe(1000 + 2 * BLOCK);
});

test('a change in flight when a flush begins is not covered by it', async () => {
  const { explained, compare } = scene();
  const sectors = explained.began(0, 4 * KIB);
  const succeeded = explained.flushing();
  explained.over(sectors);
  succeeded();
  expect(await compare(1000)).toBe(true);
  expect(explained.limit).toBe(1000 + BLOCK);
});

test('a flush that ends while the count is read does not lower the limit', async () => {
  const { explained, write } = scene();
  write();
  await explained.compare(async () => {
    explained.flushing()();
    return 1000;
  });
  expect(explained.limit).toBe(1000 + BLOCK);
});

test('a count that cannot be read changes nothing', async () => {
  const { explained, write } = scene();
  write();
  expect(await explained.compare(async () => undefined)).toBe(true);
  expect(explained.limit).toBe(1000 + BLOCK);
});

test('when everything is written back, the count itself is the limit, and the memory can be released', () => {
  const { cell, explained, write } = scene();
  for (let i = 0; i < 5; i++) write();
  explained.restart(1000 + BLOCK);
  expect(explained.limit).toBe(1000 + BLOCK);
  explained.detach();
  write();
  expect([explained.limit, cell[0]]).toEqual([1000 + 2 * BLOCK, 1000 + BLOCK]);
});

test('the writes of other threads are explained, and a flush covers those that had ended', async () => {
  const { explained, other, compare } = scene();
  for (let i = 0; i < 3; i++) other.over(other.began(0, 4 * KIB));
  const underWay = other.began(0, 4 * KIB);
  expect(explained.limit).toBe(1000 + 4 * BLOCK);
  explained.flushing()();
  expect(await compare(1000 + BLOCK)).toBe(true);
  // The write that had not ended may still be counted.
  expect(explained.limit).toBe(1000 + 2 * BLOCK);
  other.over(underWay);
  other.refused(other.began(0, 4 * KIB));
  expect(explained.limit).toBe(1000 + 2 * BLOCK);
});

test('a write that a thread did not end is as good as ended once the thread has', async () => {
  const { explained, other, compare } = scene();
  other.began(0, 4 * KIB);
  explained.threadEnded(placeOf(1));
  explained.flushing()();
  await compare(1000 + BLOCK);
  expect(explained.limit).toBe(1000 + BLOCK);
});
