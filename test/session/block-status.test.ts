import { expect, test } from 'vitest';
import { MIB, SECTOR_BYTES } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { insideOf } from '../support/inside.js';
import { MemoryDevice } from '../support/memory-device.js';
import { startMemoryServer } from '../support/memory-server.js';
import { encodeRequest } from '../support/raw-client.js';

const { Command } = nbd;
const CONTEXTS = 50;
const DISK_BYTES = 64 * MIB;
/** The number of extents of one context. */
const EXTENTS = DISK_BYTES / SECTOR_BYTES;
const MAX_EXTENTS = 16_384;

/** A disk whose every other sector is dirty in 50 bitmaps, and a client that has selected all of them. */
async function fragmented() {
  const server = await startMemoryServer([{ name: 'disk', device: new MemoryDevice(DISK_BYTES) }, { name: 'other' }]);
  const { bitmaps } = insideOf(server.exports.get('disk'));
  const names = Array.from({ length: CONTEXTS }, (_, i) => `bitmap${i}`);
  for (const name of names) bitmaps.add({ name, granularityBytes: SECTOR_BYTES });
  for (let sector = 0; sector < EXTENTS; sector += 2) bitmaps.markDirty(sector * SECTOR_BYTES, SECTOR_BYTES);
  const client = await server.connect();
  await client.go('disk', { contexts: names.map((name) => `qemu:dirty-bitmap:${name}`) });
  return { server, client, bitmaps };
}

const descriptors = (payload: Buffer) => (payload.length - 4) / 8;

test('the contexts of a reply share the limit on extents, and each gets some', async () => {
  const { client } = await fragmented();
  client.request({ command: Command.BLOCK_STATUS, length: DISK_BYTES });
  const chunks = await client.chunks();
  expect(chunks).toHaveLength(CONTEXTS);
  for (const { payload } of chunks) expect(descriptors(payload)).toBe(Math.floor(MAX_EXTENTS / CONTEXTS));
});

test('an extent of many runs is cut short, so that other clients need not wait', async () => {
  const { server, bitmaps } = await fragmented();
  // Sectors that were dirty before the freeze alternate with sectors written since, and all together are one extent.
  bitmaps.get('bitmap0').createSuccessor();
  for (let sector = 1; sector < EXTENTS; sector += 2) bitmaps.markDirty(sector * SECTOR_BYTES, SECTOR_BYTES);
  const client = await server.connect();
  await client.go('disk', { contexts: ['qemu:dirty-bitmap:bitmap0'] });
  let described = 0;
  for (let offset = 0; offset < DISK_BYTES; offset += described) {
    client.request({ command: Command.BLOCK_STATUS, offset, length: DISK_BYTES - offset });
    const [chunk] = await client.chunks();
    described = chunk!.payload.readUInt32BE(4);
    expect(descriptors(chunk!.payload)).toBe(1);
    expect(chunk!.payload.readUInt32BE(8)).toBe(1);
    expect(described).toBeLessThanOrEqual(MAX_EXTENTS * 2 * SECTOR_BYTES);
  }
});

test('another client waits little while one asks for the status of a fragmented disk in many contexts', async () => {
  const { server, client } = await fragmented();
  const neighbour = await server.connect();
  await neighbour.go('other');
  const questions = 30;
  let answered = 0;
  client.send(
    Buffer.concat(
      Array.from({ length: questions }, () => encodeRequest({ command: Command.BLOCK_STATUS, length: DISK_BYTES })),
    ),
  );
  const reading = (async () => {
    for (; answered < questions; answered++) await client.chunks();
  })();
  // Measured in processor time, so that the load of the machine does not matter.
  const waitsMicroseconds: number[] = [];
  while (answered < questions) {
    const began = process.cpuUsage();
    neighbour.request({ command: Command.READ, length: 512 });
    expect(await neighbour.structuredError()).toBe(0);
    const { user, system } = process.cpuUsage(began);
    waitsMicroseconds.push(user + system);
  }
  await reading;
  // About 10 ms, including the client and the compiler. Without the limits it takes a second.
  expect(Math.max(...waitsMicroseconds)).toBeLessThan(250_000);
});
