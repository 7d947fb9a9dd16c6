import { expect, test } from 'vitest';
import { ENOSPC } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { keepLog } from '../support/log-lines.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, type MemoryExport, startMemoryServer } from '../support/memory-server.js';
import { encodeRequest, type RawClient } from '../support/raw-client.js';

const { Command, CommandFlag, NbdError, ReplyChunk, TransmissionFlag, InfoType } = nbd;

async function connected(options: Parameters<RawClient['go']>[1] = {}, served: MemoryExport = { name: 'disk' }) {
  const server = await startMemoryServer([served]);
  const client = await server.connect();
  const flags = await client.go('disk', options);
  return { server, client, flags };
}

const pattern = (length: number) => Buffer.alloc(length, Buffer.from(Array.from({ length: 251 }, (_, i) => i)));

test('flags: a writable export offers every command, and DF only with structured replies', async () => {
  const flag = TransmissionFlag;
  const common = flag.HAS_FLAGS | flag.SEND_FLUSH | flag.SEND_FUA | flag.SEND_CACHE | flag.CAN_MULTI_CONN;
  const writable = common | flag.SEND_TRIM | flag.SEND_WRITE_ZEROES | flag.SEND_FAST_ZERO;
  expect((await connected()).flags).toBe(writable | flag.SEND_DF);
  expect((await connected({ structured: false })).flags).toBe(writable);
});

test('flags: a read-only export offers nothing that writes', async () => {
  const { flags } = await connected({}, { name: 'disk', readOnly: true });
  expect(flags).toBe(0x58f);
});

test('a write is read back, at any alignment, by simple and by structured replies', async () => {
  const data = pattern(5000);
  for (const structured of [false, true]) {
    const { client } = await connected({ structured });
    client.request({ command: Command.WRITE, offset: 65_533, payload: data, cookie: 5n });
    client.request({ command: Command.READ, offset: 65_533, length: 5000, cookie: 6n });
    if (structured) {
      expect(await client.structuredError()).toBe(0);
      const [chunk] = await client.chunks();
      expect(chunk).toMatchObject({ type: ReplyChunk.OFFSET_DATA, cookie: 6n });
      expect(chunk!.payload.readBigUInt64BE(0)).toBe(65_533n);
      expect(chunk!.payload.subarray(8)).toEqual(data);
    } else {
      expect(await client.simpleReply()).toMatchObject({ error: 0, cookie: 5n });
      expect(await client.simpleReply(5000)).toEqual({ error: 0, cookie: 6n, data });
    }
  }
});

test('reads and writes up to 32 MiB are served whole', async () => {
  const device = new MemoryDevice(64 * MIB);
  const { client } = await connected({ structured: false }, { name: 'disk', device });
  const data = pattern(32 * MIB);
  client.request({ command: Command.WRITE, offset: 4096, payload: data });
  expect((await client.simpleReply()).error).toBe(0);
  client.request({ command: Command.READ, offset: 4096, length: 32 * MIB });
  expect((await client.simpleReply(32 * MIB)).data.equals(data)).toBe(true);
});

test('a client that did not ask for block sizes reads and writes up to 64 MiB', async () => {
  const device = new MemoryDevice(80 * MIB);
  const { client } = await connected({ structured: false }, { name: 'disk', device });
  const data = pattern(64 * MIB);
  client.request({ command: Command.WRITE, offset: 4096, payload: data });
  expect((await client.simpleReply()).error).toBe(0);
  client.request({ command: Command.READ, offset: 4096, length: 64 * MIB });
  expect((await client.simpleReply(64 * MIB)).data.equals(data)).toBe(true);
});

test.each([
  [32, [InfoType.BLOCK_SIZE]],
  [64, []],
])(
  '1.4 a read of more than %d MiB is EOVERFLOW; a write of more is EINVAL, and its payload is skipped',
  async (mebibytes, infoTypes) => {
    const device = new MemoryDevice(80 * MIB);
    const { client } = await connected({ infoTypes }, { name: 'disk', device });
    client.request({ command: Command.READ, length: mebibytes * MIB + 512 });
    expect(await client.structuredError()).toBe(NbdError.EOVERFLOW);
    client.request({ command: Command.WRITE, payload: Buffer.alloc(mebibytes * MIB + 512) });
    expect(await client.structuredError()).toBe(NbdError.EINVAL);
    client.request({ command: Command.READ, length: 512 });
    expect(await client.structuredError()).toBe(0);
  },
);

test.each([
  ['READ', Command.READ, NbdError.EINVAL],
  ['WRITE', Command.WRITE, NbdError.ENOSPC],
  ['WRITE_ZEROES', Command.WRITE_ZEROES, NbdError.ENOSPC],
  ['TRIM', Command.TRIM, NbdError.EINVAL],
  ['CACHE', Command.CACHE, NbdError.EINVAL],
  ['BLOCK_STATUS', Command.BLOCK_STATUS, NbdError.EINVAL],
])('1.4 %s beyond the end is an error, and the connection stays open', async (_name, command, error) => {
  const { client } = await connected({ contexts: ['base:allocation'] });
  const payload = command === Command.WRITE ? { payload: Buffer.alloc(1024) } : { length: 1024 };
  for (const offset of [DISK_BYTES - 512, DISK_BYTES + 512, 2n ** 63n, 2n ** 64n - 512n]) {
    client.request({ command, offset, ...payload });
    expect(await client.structuredError()).toBe(error);
  }
  client.request({ command: Command.READ, length: 1 });
  expect(await client.structuredError()).toBe(0);
});

test('1.4 a client that asked for block sizes must align to 512, and any other client need not', async () => {
  const strict = (await connected({ infoTypes: [InfoType.BLOCK_SIZE] })).client;
  for (const request of [
    { offset: 1, length: 512 },
    { offset: 512, length: 100 },
  ]) {
    strict.request({ command: Command.READ, ...request });
    expect(await strict.structuredError()).toBe(NbdError.EINVAL);
  }
  strict.request({ command: Command.WRITE, offset: 1, payload: Buffer.alloc(512, 1) });
  expect(await strict.structuredError()).toBe(NbdError.EINVAL);
  strict.request({ command: Command.READ, offset: 512, length: 512 });
  expect(await strict.structuredError()).toBe(0);

  const lax = (await connected()).client;
  lax.request({ command: Command.READ, offset: 1, length: 3 });
  expect(await lax.structuredError()).toBe(0);
});

test.each([
  ['READ', Command.READ],
  ['WRITE', Command.WRITE],
  ['TRIM', Command.TRIM],
  ['CACHE', Command.CACHE],
  ['WRITE_ZEROES', Command.WRITE_ZEROES],
])('1.4 %s of length 0 does nothing and does not disconnect', async (_name, command) => {
  const { client } = await connected();
  client.request({ command, length: 0 });
  expect(await client.structuredError()).toBe(0);
});

test('1.4 BLOCK_STATUS of length 0 is EINVAL', async () => {
  const { client } = await connected({ contexts: ['base:allocation'] });
  client.request({ command: Command.BLOCK_STATUS, length: 0 });
  expect(await client.structuredError()).toBe(NbdError.EINVAL);
});

test.each([
  ['WRITE', { command: Command.WRITE, payload: Buffer.alloc(512) }],
  ['TRIM', { command: Command.TRIM, length: 512 }],
  ['WRITE_ZEROES', { command: Command.WRITE_ZEROES, length: 512 }],
])('1.5 %s on a read-only export is EPERM, and its payload is skipped', async (_name, request) => {
  const { client } = await connected({}, { name: 'disk', readOnly: true });
  client.request(request);
  expect(await client.structuredError()).toBe(NbdError.EPERM);
  client.request({ command: Command.READ, length: 1 });
  expect(await client.structuredError()).toBe(0);
});

test.each([
  ['an unknown command', { command: 99 }],
  ['the withdrawn RESIZE', { command: 8 }],
  ['an unknown flag', { command: Command.READ, flags: 1 << 9, length: 512 }],
  ['a flag of another command', { command: Command.WRITE, flags: CommandFlag.DF, payload: Buffer.alloc(512) }],
  ['REQ_ONE on a read', { command: Command.READ, flags: CommandFlag.REQ_ONE, length: 512 }],
  ['an unknown flag on CACHE', { command: Command.CACHE, flags: CommandFlag.NO_HOLE, length: 512 }],
])('1.5 %s is EINVAL, and the connection stays open', async (_what, request) => {
  const { client } = await connected();
  client.request(request);
  expect(await client.structuredError()).toBe(NbdError.EINVAL);
  client.request({ command: Command.READ, length: 1 });
  expect(await client.structuredError()).toBe(0);
});

test('1.5 DF without structured replies is EINVAL', async () => {
  const { client } = await connected({ structured: false });
  client.request({ command: Command.READ, flags: CommandFlag.DF, length: 512 });
  expect((await client.simpleReply()).error).toBe(NbdError.EINVAL);
});

test('1.5 FUA is accepted on every command', async () => {
  const { client } = await connected({ contexts: ['base:allocation'] });
  const { READ, WRITE, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS } = Command;
  for (const command of [READ, WRITE, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS]) {
    const payload = command === WRITE ? { payload: Buffer.alloc(512) } : { length: 512 };
    client.request({ command, flags: CommandFlag.FUA, ...payload });
    expect(await client.structuredError()).toBe(0);
  }
  client.request({ command: FLUSH, flags: CommandFlag.FUA });
  expect(await client.structuredError()).toBe(0);
});

test('1.5 with structured replies a hole is a hole chunk, and every chunk lies inside the request', async () => {
  const { client } = await connected();
  client.request({ command: Command.WRITE, offset: 256 * KIB, payload: Buffer.alloc(64 * KIB, 9) });
  await client.chunks();
  client.request({ command: Command.READ, offset: 0, length: 128 * KIB });
  const [hole] = await client.chunks();
  expect(hole).toMatchObject({ type: ReplyChunk.OFFSET_HOLE, flags: nbd.REPLY_FLAG_DONE });
  expect(hole!.payload.readUInt32BE(8)).toBe(128 * KIB);

  client.request({ command: Command.READ, offset: 64 * KIB, length: 256 * KIB });
  const [first, second] = await client.chunks();
  expect(first).toMatchObject({ type: ReplyChunk.OFFSET_HOLE, flags: 0 });
  expect(first!.payload.readUInt32BE(8)).toBe(192 * KIB);
  expect(Number(second!.payload.readBigUInt64BE(0))).toBe(256 * KIB);
  expect(second!.payload.subarray(8).equals(Buffer.alloc(64 * KIB, 9))).toBe(true);
});

test('1.5 with DF a hole is sent as zeroes in one chunk', async () => {
  const { client } = await connected();
  client.request({ command: Command.READ, flags: CommandFlag.DF, offset: 0, length: 128 * KIB });
  const chunks = await client.chunks();
  expect(chunks).toHaveLength(1);
  expect(chunks[0]!.payload.subarray(8).equals(Buffer.alloc(128 * KIB))).toBe(true);
});

test('1.5 zeroes read back as zeroes, with NO_HOLE allocated and without it as a hole', async () => {
  const { client } = await connected({ contexts: ['base:allocation'] });
  const allocation = async () => {
    client.request({ command: Command.BLOCK_STATUS, offset: 0, length: 64 * KIB });
    const [chunk] = await client.chunks();
    return chunk!.payload.readUInt32BE(8);
  };
  client.request({ command: Command.WRITE, payload: Buffer.alloc(64 * KIB, 1) });
  await client.chunks();
  expect(await allocation()).toBe(0);
  client.request({ command: Command.WRITE_ZEROES, flags: CommandFlag.NO_HOLE, length: 64 * KIB });
  await client.chunks();
  expect(await allocation()).toBe(nbd.AllocationStatus.ZERO);
  client.request({ command: Command.WRITE_ZEROES, length: 64 * KIB });
  await client.chunks();
  expect(await allocation()).toBe(nbd.AllocationStatus.ZERO | nbd.AllocationStatus.HOLE);
});

test('1.5 a FAST_ZERO that would not be fast is ENOTSUP, and nothing is changed', async () => {
  const device = new MemoryDevice(DISK_BYTES, { fastZero: false });
  const { client } = await connected({}, { name: 'disk', device });
  client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
  await client.chunks();
  client.request({ command: Command.WRITE_ZEROES, flags: CommandFlag.FAST_ZERO, length: 512 });
  expect(await client.structuredError()).toBe(NbdError.ENOTSUP);
  client.request({ command: Command.READ, length: 512 });
  expect((await client.chunks())[0]!.payload.subarray(8)).toEqual(Buffer.alloc(512, 1));
});

test.each([
  ['the export is read-only', { command: Command.TRIM, length: 512 }],
  [
    `the range is not inside the export, which is ${DISK_BYTES} bytes long`,
    { command: Command.READ, offset: DISK_BYTES, length: 1 },
  ],
  ['the server does not know command 99', { command: 99 }],
])('1.5 a structured error says which rule the request breaks: %s', async (sentence, request) => {
  const { client } = await connected({}, { name: 'disk', readOnly: true });
  client.request(request);
  const [chunk] = await client.chunks();
  expect(chunk!.payload.subarray(6).toString()).toBe(sentence);
  expect(chunk!.payload.readUInt16BE(4)).toBe(chunk!.payload.length - 6);
});

test('1.5 a structured error of the disk says what failed', async () => {
  const device = new FaultyDevice(new MemoryDevice(DISK_BYTES));
  const { client } = await connected({}, { name: 'disk', device });
  device.fail('write', ENOSPC);
  client.request({ command: Command.WRITE, payload: Buffer.alloc(512) });
  const [chunk] = await client.chunks();
  expect(chunk!.payload.readUInt32BE(0)).toBe(NbdError.ENOSPC);
  expect(chunk!.payload.subarray(6).toString()).toBe('no space is left on the storage of the export');
});

test('a request that breaks a rule is logged at debug, with the rule and what was asked', async () => {
  const { log, lines } = keepLog();
  const server = await startMemoryServer([{ name: 'disk' }], {}, log);
  const client = await server.connect();
  await client.go('disk', { structured: false });
  client.request({ command: Command.WRITE, offset: DISK_BYTES, payload: Buffer.alloc(512) });
  expect((await client.simpleReply()).error).toBe(NbdError.ENOSPC);
  client.request({ command: Command.READ, length: 1 });
  await client.simpleReply(1);
  expect(lines.filter(({ message }) => message.startsWith('refused'))).toEqual([
    {
      level: 'debug',
      message: `refused a request: the range is not inside the export, which is ${DISK_BYTES} bytes long`,
      fields: {
        ...{ export: 'disk', connection: expect.any(Number), command: 'NBD_CMD_WRITE', flags: [] },
        ...{ offset: DISK_BYTES, length: 512, cookie: '0x0000000000000001' },
        error: 'ENOSPC',
      },
    },
  ]);
});

test('1.5 a request with the wrong magic ends the connection', async () => {
  const { client } = await connected();
  client.request({ command: Command.READ, length: 1, magic: 0x12560953 });
  expect(await client.rest()).toHaveLength(0);
});

test('1.5 DISC has no reply, and requests before it are still answered', async () => {
  const { client } = await connected({ structured: false });
  client.send(
    Buffer.concat([
      encodeRequest({ command: Command.FLUSH, cookie: 3n }),
      encodeRequest({ command: Command.READ, cookie: 4n, length: 512 }),
      encodeRequest({ command: Command.DISC }),
      encodeRequest({ command: Command.READ, length: 512 }),
    ]),
  );
  expect(await client.rest()).toHaveLength(16 + 16 + 512);
});

test('1.5 DISC ends the connection whatever its flags, offset and length say', async () => {
  const { client } = await connected({ structured: false });
  client.request({ command: Command.DISC, flags: 0xffff, offset: 2n ** 64n - 1n, length: 2 ** 32 - 1 });
  expect(await client.rest()).toHaveLength(0);
});

test('a client that sends its requests and closes its side still gets the answers', async () => {
  const { client } = await connected({ structured: false });
  client.request({ command: Command.FLUSH });
  client.end();
  expect(await client.rest()).toHaveLength(16);
});

test('a client that does not read its replies is not served until it reads, and gets all of them', async () => {
  const { client, server } = await connected({ structured: false });
  const count = 200;
  for (let i = 0; i < count; i++) client.request({ command: Command.READ, length: 1 * MIB, cookie: BigInt(i) });
  for (let i = 0; i < count; i++) expect((await client.simpleReply(1 * MIB)).cookie).toBe(BigInt(i));
  expect(server.listener.connectionCount).toBe(1);
});

test('a bug in a waiting request ends only its own connection', async () => {
  class Broken extends FilterDevice {
    override cache(): Promise<never> {
      return Promise.reject(new Error('a bug'));
    }
  }
  const { server, client } = await connected({}, { name: 'disk', device: new Broken(new MemoryDevice(DISK_BYTES)) });
  const other = await server.connect();
  await other.go('disk');
  client.request({ command: Command.CACHE, length: 512 });
  expect(await client.rest()).toHaveLength(0);
  other.request({ command: Command.WRITE, payload: pattern(512) });
  expect(await other.structuredError()).toBe(0);
});

test('a bug before a request begins to wait ends only its own connection, and leaves nothing behind', async () => {
  class Broken extends FilterDevice {
    override cache(): Promise<never> {
      throw new Error('a bug');
    }
  }
  const { server, client } = await connected({}, { name: 'disk', device: new Broken(new MemoryDevice(DISK_BYTES)) });
  client.request({ command: Command.CACHE, length: 512 });
  expect(await client.rest()).toHaveLength(0);
  await expect.poll(() => server.listener.connectionCount).toBe(0);
});

test('bytes after DISC are not kept, even while a reply is still due', async () => {
  const device = new FaultyDevice(new MemoryDevice(DISK_BYTES));
  const { client } = await connected({ structured: false }, { name: 'disk', device });
  device.hold();
  client.request({ command: Command.FLUSH });
  await expect.poll(() => device.heldCalls).toBe(1);
  client.request({ command: Command.DISC });
  // If they were kept, every byte after the first MiB would cause all bytes before it to be copied.
  await client.sent(Buffer.alloc(16 * MIB));
  device.release();
  expect(await client.rest()).toHaveLength(16);
});

test('only two block status requests of a client are worked on at the same time', async () => {
  const device = new FaultyDevice(new MemoryDevice(64 * MIB));
  const served = { name: 'disk', device };
  const { client } = await connected({ contexts: ['base:allocation'] }, served);
  device.hold();
  const ask = { command: Command.BLOCK_STATUS, length: 64 * MIB };
  client.send(Buffer.concat(Array.from({ length: 10 }, () => encodeRequest(ask))));
  await expect.poll(() => device.heldCalls).toBeGreaterThan(0);
  expect(device.heldCalls).toBe(2);
  device.release();
  for (let i = 0; i < 10; i++) expect(await client.structuredError()).toBe(0);
});
