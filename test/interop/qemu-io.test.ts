import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { makeImage } from '../support/image.js';
import { outcomeOf, run } from '../support/run.js';
import { dirtyRanges, statusMap } from '../support/status-map.js';
import { startTidemark } from '../support/tidemark.js';

const SIZE_BYTES = 8 * MIB;

/**
 * An image filled with one byte, served with a bitmap of the finest granularity, and a function to run qemu-io on it.
 */
async function serveImageOf(byte: number) {
  const path = makeImage(SIZE_BYTES);
  await run('qemu-io', '-f', 'raw', '-c', `write -P ${byte} 0 ${SIZE_BYTES}`, path);
  const server = await startTidemark(`disk=${path},bitmap=fine:512`);
  const qemuIo = (...commands: string[]) =>
    run('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), server.uri('disk'));
  return { path, uri: server.uri('disk'), qemuIo };
}

function expectContent(path: string, base: number, changes: readonly (readonly [number, number, number])[]): void {
  const expected = Buffer.alloc(SIZE_BYTES, base);
  for (const [offset, length, byte] of changes) expected.fill(byte, offset, offset + length);
  expect(readFileSync(path).equals(expected)).toBe(true);
}

test('qemu-io writes patterns and reads them back', async () => {
  const { path, qemuIo } = await serveImageOf(1);
  await qemuIo('write -P 17 0 64k', 'write -P 34 1M 1M', 'read -P 17 0 64k', 'read -P 34 1M 1M', 'read -P 1 64k 960k');
  await qemuIo('write -f -P 51 1M 512', 'read -P 51 1M 512', `write -P 68 ${SIZE_BYTES - 512} 512`, 'flush');
  expectContent(path, 1, [
    [0, 64 * KIB, 17],
    [MIB, MIB, 34],
    [MIB, 512, 51],
    [SIZE_BYTES - 512, 512, 68],
  ]);
});

test('qemu-io writes at odd offsets and lengths', async () => {
  const { path, uri, qemuIo } = await serveImageOf(1);
  await qemuIo('write -P 17 513 1000', 'write -P 34 4095 2', 'write -P 51 1000001 65537', 'read -P 34 4095 2');
  await qemuIo('read -P 1 0 513', 'read -P 17 513 1000', 'read -P 51 1000001 65537', 'read -P 1 1065538 999');
  expectContent(path, 1, [
    [513, 1000, 17],
    [4095, 2, 34],
    [1000001, 65537, 51],
  ]);
  const sectors = (from: number, end: number) => ({ offset: from * 512, length: (end - from) * 512 });
  expect(await dirtyRanges(uri, 'fine')).toEqual([sectors(1, 3), sectors(7, 9), sectors(1953, 2082)]);
});

test('qemu-io keeps several writes in flight', async () => {
  const { path, qemuIo } = await serveImageOf(1);
  const pieces = Array.from({ length: 32 }, (_, index) => index);
  await qemuIo(...pieces.map((index) => `aio_write -P ${index + 2} ${index * 100}k 100k`), 'aio_flush');
  expectContent(
    path,
    1,
    pieces.map((index) => [index * 100 * KIB, 100 * KIB, index + 2] as const),
  );
});

test('zeroes that may leave a hole leave one', async () => {
  const { path, uri, qemuIo } = await serveImageOf(255);
  await qemuIo('write -z -u 1M 1M', 'read -P 0 1M 1M', 'read -P 255 0 1M');
  expectContent(path, 255, [[MIB, MIB, 0]]);
  expect(await statusMap(uri, 'base:allocation')).toContainEqual({ offset: MIB, length: MIB, type: 3 });
  expect(await dirtyRanges(uri, 'fine')).toEqual([{ offset: MIB, length: MIB }]);
});

test('zeroes that may not leave a hole leave none', async () => {
  const { path, uri, qemuIo } = await serveImageOf(255);
  await qemuIo('write -z 1M 1M', 'write -z 3000000 1001', 'read -P 0 1M 1M');
  expectContent(path, 255, [
    [MIB, MIB, 0],
    [3_000_000, 1001, 0],
  ]);
  expect((await statusMap(uri, 'base:allocation')).every(({ type }) => type !== 3)).toBe(true);
});

test('discarded space is given back, and counts as changed', async () => {
  const { path, uri, qemuIo } = await serveImageOf(255);
  await qemuIo('discard 2M 1M', 'read -P 0 2M 1M');
  expectContent(path, 255, [[2 * MIB, MIB, 0]]);
  expect(await statusMap(uri, 'base:allocation')).toContainEqual({ offset: 2 * MIB, length: MIB, type: 3 });
  expect(await dirtyRanges(uri, 'fine')).toEqual([{ offset: 2 * MIB, length: MIB }]);
});

test('a read that finds other content fails', async () => {
  const { uri } = await serveImageOf(255);
  const outcome = await outcomeOf('qemu-io', '-f', 'raw', '-c', 'read -P 254 0 4k', uri);
  expect(outcome.stdout).toContain('Pattern verification failed');
});
