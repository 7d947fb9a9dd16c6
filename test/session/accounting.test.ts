import { expect, test } from 'vitest';
import type { CommandStatistics, Statistics } from '../../src/api/statistics.js';
import { EIO } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import { Command, CommandFlag, NbdError } from '../../src/protocol/constants.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';
import { ThreadServer } from '../support/thread-server.js';

async function connected() {
  const device = new FaultyDevice(new MemoryDevice(DISK_BYTES));
  const server = await startMemoryServer([{ name: 'disk', device }]);
  const client = await server.connect();
  await client.go('disk', { structured: false });
  const served = server.exports.get('disk');
  return { device, client, served, statistics: () => served.statistics(true) };
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, one) => all + one, 0);
const measured = ({ latency }: CommandStatistics) => sum(latency!.counts);

test('each command is accounted with its operations, bytes and time', async () => {
  const { client, statistics } = await connected();
  expect(statistics()).toEqual({ commands: {}, inFlight: 0, highestOffset: 0, idleSeconds: null });
  const requests = [
    { command: Command.WRITE, offset: 8 * KIB, payload: Buffer.alloc(4 * KIB, 1) },
    { command: Command.WRITE, flags: CommandFlag.FUA, payload: Buffer.alloc(512, 1) },
    { command: Command.WRITE_ZEROES, offset: 64 * KIB, length: 64 * KIB },
    { command: Command.TRIM, offset: 512 * KIB, length: 8 * KIB },
    { command: Command.FLUSH },
    { command: Command.CACHE, length: 16 * KIB },
    { command: Command.CACHE, length: 0 },
    { command: Command.READ, length: 2 * KIB },
    { command: Command.READ, length: 3 * MIB },
  ];
  for (const request of requests) {
    client.request(request);
    expect((await client.simpleReply(request.command === Command.READ ? request.length : 0)).error).toBe(0);
  }
  const done = (operations: number, bytes: number) => ({ operations, bytes, failed: 0, invalid: 0 });
  const { commands, inFlight, highestOffset, idleSeconds } = statistics();
  expect(commands).toMatchObject({
    read: done(2, 2 * KIB + 3 * MIB),
    write: done(2, 4 * KIB + 512),
    zero: done(1, 64 * KIB),
    trim: done(1, 8 * KIB),
    flush: done(1, 0),
    cache: done(2, 16 * KIB),
  });
  expect(Object.keys(commands).sort()).toEqual(['cache', 'flush', 'read', 'trim', 'write', 'zero']);
  expect([inFlight, highestOffset]).toEqual([0, 128 * KIB]);
  expect(idleSeconds).toBeLessThan(60);
  for (const command of Object.values(commands)) {
    expect(measured(command)).toBe(command.operations);
    expect(command.seconds).toBeGreaterThan(0);
  }
});

test('block status is accounted, without bytes', async () => {
  const server = await startMemoryServer();
  const client = await server.connect();
  await client.go('disk', { contexts: ['base:allocation'] });
  client.request({ command: Command.BLOCK_STATUS, length: MIB });
  await client.chunks();
  const { commands } = server.exports.get('disk').statistics(false);
  expect(commands).toMatchObject({ status: { operations: 1, bytes: 0, failed: 0 } });
  expect(commands.status).not.toHaveProperty('latency');
});

test('a request that the disk fails has taken time but moved no bytes; an invalid one has done neither', async () => {
  const { client, device, served, statistics } = await connected();
  for (const deferred of [false, true]) {
    device.deferAll(deferred);
    device.failNext('write', EIO);
    client.request({ command: Command.WRITE, payload: Buffer.alloc(512) });
    expect((await client.simpleReply()).error).toBe(NbdError.EIO);
  }
  client.request({ command: Command.READ, offset: DISK_BYTES, length: 512 });
  expect((await client.simpleReply()).error).toBe(NbdError.EINVAL);
  client.request({ command: 77, length: 512 });
  expect((await client.simpleReply()).error).toBe(NbdError.EINVAL);
  const { write, read, other } = statistics().commands;
  expect(write).toMatchObject({ operations: 0, bytes: 0, failed: 2, invalid: 0 });
  expect(measured(write!)).toBe(2);
  expect(read).toMatchObject({ operations: 0, failed: 0, invalid: 1, seconds: 0 });
  expect(other).toMatchObject({ invalid: 1 });
  expect(served.counters()).toEqual({ requests: 2, failedRequests: 4, bytesRead: 0, bytesWritten: 0 });
});

test('a request that waits is in flight, and takes as long as it waits', async () => {
  const { client, device, statistics } = await connected();
  device.deferAll(true);
  device.hold();
  for (let i = 0; i < 3; i++) client.request({ command: Command.READ, length: 512 });
  await expect.poll(() => statistics().inFlight).toBe(3);
  await new Promise((resolve) => setTimeout(resolve, 25));
  expect(statistics().commands).toEqual({});
  device.release();
  for (let i = 0; i < 3; i++) await client.simpleReply(512);
  await expect.poll(() => statistics().inFlight).toBe(0);
  const { read } = statistics().commands;
  expect(read).toMatchObject({ operations: 3, bytes: 1536 });
  expect(read!.seconds).toBeGreaterThan(3 * 0.02);
  const { boundsSeconds, counts } = read!.latency!;
  expect(sum(counts.slice(boundsSeconds.indexOf(0.02) + 1))).toBe(3);
});

test.each([1, 3])('with %d threads, all clients together have done what the disk says', async (threads) => {
  const server = await ThreadServer.start(8 * MIB, { threads });
  const clients = [];
  for (let i = 0; i < 4; i++) clients.push(await server.connect());
  await Promise.all(
    clients.map(async (client, index) => {
      for (let i = 0; i < 50; i++) {
        await client.write((4 * i + index) * 4 * KIB, Buffer.alloc(4 * KIB, 1));
        await client.read(index * 4 * KIB, 2 * KIB);
      }
      await client.flush();
    }),
  );
  const { served } = server;
  const counted = ({ commands }: Statistics) =>
    [commands.read, commands.write, commands.flush].map((one) => [one?.operations, one?.bytes]);
  const all = [
    [200, 400 * KIB],
    [200, 800 * KIB],
    [4, 0],
  ];
  expect(counted(served.statistics(true))).toEqual(all);
  expect(served.statistics(true).highestOffset).toBe(800 * KIB);
  for (const { statistics } of served.clientStatistics(true)) {
    expect(counted(statistics)).toEqual(all.map(([operations, bytes]) => [operations! / 4, bytes! / 4]));
  }
  // The time of a request is added after its reply has left.
  const times = () => Object.values(served.statistics(true).commands).map(measured);
  await expect.poll(times).toEqual(all.map(([operations]) => operations));
  for (const client of clients.slice(1)) await client.disconnect();
  await expect.poll(() => served.clientCount).toBe(1);
  expect(counted(served.statistics(true))).toEqual(all);
  await expect.poll(times).toEqual(all.map(([operations]) => operations));
});
