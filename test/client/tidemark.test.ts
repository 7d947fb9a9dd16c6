import { describe, expect, test } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { extentsOf } from '../../src/client/block-status-walk.js';
import { listContexts, listExports } from '../../src/client/listing.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';

const BASE = 'base:allocation';
const DIRTY = 'qemu:dirty-bitmap:nightly';
const DEPTH = 'qemu:allocation-depth';
const GRANULE = 64 * KIB;

async function connectTo(exportName = 'disk') {
  const { path } = await startMemoryServer();
  const target = { address: { socketPath: path }, exportName };
  return { target, client: await NbdClient.connect(target, { contexts: [BASE, DIRTY] }) };
}

/** The indices of the marked granules. */
async function dirtyGranules(client: NbdClient): Promise<number[]> {
  const granules: number[] = [];
  for await (const window of client.extents()) {
    for (const { offset, length, status } of extentsOf(window, DIRTY)) {
      if (status === 0) continue;
      for (let at = offset; at < offset + length; at += GRANULE) granules.push(at / GRANULE);
    }
  }
  return granules;
}

describe('tidemark', () => {
  test('describes an export to its own client correctly', async () => {
    const { client, target } = await connectTo();
    expect(client.sizeBytes).toBe(DISK_BYTES);
    expect(client.contexts).toEqual([BASE, DIRTY]);
    expect(client.blockSizes).toMatchObject({ minimum: 512, maximum: 32 * MIB });
    expect(client.features).toMatchObject({
      readOnly: false,
      flush: true,
      fua: true,
      trim: true,
      zero: true,
      multiConn: true,
    });
    expect(await listExports(target)).toEqual([{ exportName: 'disk', description: '' }]);
    expect(await listContexts(target)).toEqual([BASE, DEPTH, DIRTY]);
    expect(await listContexts(target, ['qemu:'])).toEqual([DEPTH, DIRTY]);
    await client.disconnect();
  });

  test('keeps the writes of many concurrent requests, and shows at once what became dirty', async () => {
    const { client } = await connectTo();
    expect(await dirtyGranules(client)).toEqual([]);
    const indexes = [0, 7, 8, 40, 63];
    const block = (index: number) => Buffer.alloc(4 * KIB, index + 1);
    await Promise.all(indexes.map((index) => client.write(index * GRANULE + 512, block(index))));
    await client.zero(20 * GRANULE, GRANULE);
    await client.trim(30 * GRANULE, GRANULE);
    await client.flush();
    expect(await dirtyGranules(client)).toEqual([0, 7, 8, 20, 30, 40, 63]);
    const read = await Promise.all(indexes.map((index) => client.read(index * GRANULE + 512, 4 * KIB)));
    expect(read).toEqual(indexes.map(block));
    await client.disconnect();
  });

  test('serves a whole disk in one read, holes and all', async () => {
    const { client } = await connectTo();
    await client.write(MIB, Buffer.alloc(MIB, 5));
    const expected = Buffer.alloc(DISK_BYTES);
    expected.fill(5, MIB, 2 * MIB);
    expect((await client.read(0, DISK_BYTES, Buffer.alloc(DISK_BYTES, 9))).equals(expected)).toBe(true);
    await client.disconnect();
  });

  test('refuses an export that it does not have', async () => {
    await expect(connectTo('other')).rejects.toThrow(/the server refused the export "other": UNKNOWN/);
  });

  test('refuses an unaligned request, and serves the next one', async () => {
    const { client } = await connectTo();
    await expect(client.read(100, 512)).rejects.toMatchObject({ code: 'EINVAL' });
    expect(await client.read(512, 512)).toEqual(Buffer.alloc(512));
    await client.disconnect();
  });
});
