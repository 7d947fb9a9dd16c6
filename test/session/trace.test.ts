import { expect, test } from 'vitest';
import { ENOSPC } from '../../src/base/errno.js';
import { Command, CommandFlag, NbdError } from '../../src/protocol/constants.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { keepLog } from '../support/log-lines.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';

async function connected(level: 'trace' | 'debug') {
  const { log, lines } = keepLog(level);
  const device = new FaultyDevice(new MemoryDevice(DISK_BYTES));
  const server = await startMemoryServer([{ name: 'disk', device }], {}, log);
  const client = await server.connect();
  await client.go('disk', { structured: false });
  return { client, device, traced: () => lines.filter((line) => line.level === 'trace') };
}

const line = (message: string, fields: object) => ({
  level: 'trace',
  message,
  fields: {
    ...{ export: 'disk', connection: expect.any(Number), command: message, offset: 0, flags: [] },
    ...{ milliseconds: expect.any(Number), ...fields },
  },
});

test('at the level trace, each request is logged, with what was asked and what became of it', async () => {
  const { client, device, traced } = await connected('trace');
  client.request({ command: Command.READ, length: 512, cookie: 1n });
  expect((await client.simpleReply(512)).error).toBe(0);
  const flags = CommandFlag.NO_HOLE | CommandFlag.FUA;
  client.request({ command: Command.WRITE_ZEROES, offset: 4096, length: 8192, flags, cookie: 0xfedcba9876543210n });
  expect((await client.simpleReply()).error).toBe(0);
  device.failNext('write', ENOSPC);
  client.request({ command: Command.WRITE, payload: Buffer.alloc(1024), cookie: 3n });
  expect((await client.simpleReply()).error).toBe(NbdError.ENOSPC);
  client.request({ command: Command.DISC, cookie: 4n });
  expect(await client.rest()).toHaveLength(0);
  expect(traced()).toEqual([
    line('NBD_CMD_READ', { length: 512, cookie: '0x0000000000000001' }),
    line('NBD_CMD_WRITE_ZEROES', {
      ...{ offset: 4096, length: 8192, cookie: '0xfedcba9876543210', flags: ['FUA', 'NO_HOLE'] },
    }),
    line('NBD_CMD_WRITE', { length: 1024, cookie: '0x0000000000000003', error: 'ENOSPC' }),
    line('NBD_CMD_DISC', { length: 0, cookie: '0x0000000000000004' }),
  ]);
});

test('a request that waits is logged when it is done, with the time that it took', async () => {
  const { client, device, traced } = await connected('trace');
  device.deferAll(true);
  device.hold();
  client.request({ command: Command.READ, length: 512, cookie: 1n });
  await expect.poll(() => device.heldCalls).toBe(1);
  await new Promise((resolve) => setTimeout(resolve, 25));
  expect(traced()).toEqual([]);
  device.release();
  await client.simpleReply(512);
  expect(traced()).toEqual([line('NBD_CMD_READ', { length: 512, cookie: '0x0000000000000001' })]);
  expect((traced()[0]!.fields as { milliseconds: number }).milliseconds).toBeGreaterThan(20);
});

test('at the level debug, no request is logged that was served', async () => {
  const { client, traced } = await connected('debug');
  client.request({ command: Command.READ, length: 512 });
  await client.simpleReply(512);
  client.request({ command: Command.FLUSH });
  await client.simpleReply();
  expect(traced()).toEqual([]);
});
