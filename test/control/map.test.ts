import { expect, test } from 'vitest';
import type { DiskMap } from '../../src/api/disk-map.js';
import { KIB, MIB } from '../../src/base/units.js';
import { controlApiOver } from '../support/control-api.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';

async function startApi() {
  const registry = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]);
  const { ask } = await controlApiOver(registry);
  const map = async (query: string) => (await ask('GET', `/v1/exports/disk/map?${query}`)).document as DiskMap;
  const write = (offset: number, length: number) =>
    registry.get('disk').device.write(Buffer.alloc(length, 1), 0, length, offset);
  return { ask, map, write };
}

test('the slices of the whole disk tell what is dirty', async () => {
  const { map, write } = await startApi();
  await write(MIB + 100, 10);
  const found = await map(`sliceBytes=${MIB}&bitmap=nightly`);
  expect(found).toMatchObject({ offset: 0, length: DISK_BYTES, sliceBytes: MIB, nextOffset: null });
  expect(found.dirtyBytes).toEqual([0, 64 * KIB, 0, 0]);
  expect(found.allocatedBytes).toHaveLength(4);
});

test('slices begin at multiples of their size, wherever the part begins and ends', async () => {
  const { map, write } = await startApi();
  await write(0, DISK_BYTES);
  const found = await map(`sliceBytes=${MIB}&bitmap=nightly&offset=${MIB / 2}&length=${2 * MIB}`);
  expect(found).toMatchObject({ offset: MIB / 2, length: 2 * MIB, nextOffset: null });
  expect(found.dirtyBytes).toEqual([MIB / 2, MIB, MIB / 2]);
});

test('without a bitmap, only the allocation is told', async () => {
  const { map } = await startApi();
  expect(await map('')).not.toHaveProperty('dirtyBytes');
  expect((await map('')).allocatedBytes).toHaveLength(1024);
});

test.each([
  ['a slice that is no multiple of 4 KiB', 'sliceBytes=5000'],
  ['a slice of half a byte', 'sliceBytes=4096.5'],
  ['an offset past the end', `offset=${DISK_BYTES}`],
  ['no length', 'length=0'],
  ['an unknown key', 'slices=4'],
])('%s is refused', async (_what, query) => {
  const { ask } = await startApi();
  expect((await ask('GET', `/v1/exports/disk/map?${query}`)).status).toBe(400);
});

test('a bitmap that does not exist is an error', async () => {
  const { ask } = await startApi();
  const answer = await ask('GET', '/v1/exports/disk/map?bitmap=other');
  expect(answer).toMatchObject({ status: 404, document: { code: 'BITMAP_NOT_FOUND' } });
});
