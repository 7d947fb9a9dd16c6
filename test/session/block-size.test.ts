import { expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { insideOf } from '../support/inside.js';
import { MemoryDevice } from '../support/memory-device.js';
import { type MemoryExport, startMemoryServer } from '../support/memory-server.js';
import { infoData, type RawClient } from '../support/raw-client.js';

const { Command, CommandFlag, InfoType, NbdError, Option } = nbd;

async function connected(served: Partial<MemoryExport>, options: Parameters<RawClient['go']>[1] = {}) {
  const server = await startMemoryServer([{ name: 'disk', ...served }]);
  const client = await server.connect();
  await client.go('disk', { infoTypes: [InfoType.BLOCK_SIZE], ...options });
  return { server, client };
}

/** [length, status] of each extent of the only chunk. */
async function extents(client: RawClient, offset: number, length: number, flags = 0): Promise<[number, number][]> {
  client.request({ command: Command.BLOCK_STATUS, offset, length, flags });
  const [chunk] = await client.chunks();
  const { payload } = chunk!;
  return Array.from({ length: (payload.length - 4) / 8 }, (_, i) => [
    payload.readUInt32BE(4 + 8 * i),
    payload.readUInt32BE(8 + 8 * i),
  ]);
}

test.each([1, 512, 4096] as const)('1.4 BLOCK_SIZE reports the min-block of the export: %d', async (minBlockBytes) => {
  const client = await (await startMemoryServer([{ name: 'disk', minBlockBytes }])).connect();
  await client.greet();
  client.option(Option.INFO, infoData('disk', [InfoType.BLOCK_SIZE]));
  const info = (await client.replies()).find(({ data }) => data.length === 14)!;
  expect([2, 6, 10].map((at) => info.data.readUInt32BE(at))).toEqual([minBlockBytes, 4096, 2 ** 25]);
});

test('1.4 with a min-block of 1 a client that asked for block sizes reads and writes any bytes', async () => {
  const { client } = await connected({ minBlockBytes: 1 });
  client.request({ command: Command.WRITE, offset: 511, payload: Buffer.from('abc') });
  expect(await client.structuredError()).toBe(0);
  client.request({ command: Command.READ, offset: 510, length: 5 });
  expect((await client.chunks())[0]!.payload.subarray(8).toString('latin1')).toBe('\0abc\0');
});

test('1.4 with a min-block of 4096 a client that asked for block sizes must align to it', async () => {
  const { client } = await connected({ minBlockBytes: 4096 });
  for (const request of [
    { offset: 512, length: 4096 },
    { offset: 4096, length: 512 },
  ]) {
    client.request({ command: Command.READ, ...request });
    expect(await client.structuredError()).toBe(NbdError.EINVAL);
  }
  client.request({ command: Command.READ, offset: 4096, length: 8192 });
  expect(await client.structuredError()).toBe(0);
});

test('1.5 with a min-block of 4096 a partly dirty block is dirty, and extents are whole blocks', async () => {
  const { server, client } = await connected({ minBlockBytes: 4096, bitmaps: [] }, { contexts: [] });
  const served = server.exports.get('disk');
  insideOf(served).bitmaps.add({ name: 'fine', granularityBytes: 512 });
  for (const sector of [1, 3, 17, 24]) served.device.writeNow(Buffer.alloc(512), 0, 512, sector * 512);
  client.close();
  const other = await server.connect();
  await other.go('disk', { contexts: ['qemu:dirty-bitmap:fine'], infoTypes: [InfoType.BLOCK_SIZE] });
  expect(await extents(other, 0, 64 * KIB)).toEqual([
    [4096, 1],
    [4096, 0],
    [8192, 1],
    [48 * KIB, 0],
  ]);
  expect(await extents(other, 0, 64 * KIB, CommandFlag.REQ_ONE)).toEqual([[4096, 1]]);
  expect(await extents(other, 4096, 8192, CommandFlag.REQ_ONE)).toEqual([[4096, 0]]);
});

test('1.5 with a min-block of 4096 a block with any data counts as data', async () => {
  const device = new SectorHoles(MIB);
  const { client } = await connected({ minBlockBytes: 4096, device }, { contexts: ['base:allocation'] });
  expect(await extents(client, 0, 16 * KIB)).toEqual([
    [4096, 0],
    [12 * KIB, 3],
  ]);
});

test('an export cannot get a size that is not a multiple of its blocks', async () => {
  const server = await startMemoryServer([{ name: 'disk', minBlockBytes: 4096 }]);
  await expect(server.exports.get('disk').resize(MIB + 512)).rejects.toMatchObject({ code: 'EXPORT_INVALID' });
});

/** A device whose first sector is data, and the others are holes. */
class SectorHoles extends MemoryDevice {
  override async extents(offset: number, length: number, list: import('../../src/base/extents.js').ExtentList) {
    const data = Math.max(0, Math.min(512 - offset, length));
    if (data > 0) list.add(data, 0);
    if (length > data) list.add(length - data, 3);
    return 0;
  }
}
