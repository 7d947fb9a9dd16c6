import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Errno, OK } from '../../src/base/errno.js';
import type { ExtentList } from '../../src/base/extents.js';
import { GIB, MIB, TIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import type { ZeroOptions } from '../../src/storage/device/block-device.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, type MemoryExport, startMemoryServer } from '../support/memory-server.js';
import {
  type ExtendedChunk,
  encodeExtendedRequest,
  infoData,
  metaData,
  type RawClient,
  statusPayload,
} from '../support/raw-client.js';

const { Command, CommandFlag, NbdError, Option, OptionError, OptionReply, ReplyChunk, TransmissionFlag } = nbd;

const BOTH = ['base:allocation', 'qemu:dirty-bitmap:nightly'];

async function connected(
  { contexts = [], infoTypes = [] }: { contexts?: string[]; infoTypes?: number[] } = {},
  served: MemoryExport = { name: 'disk', bitmaps: ['nightly'] },
) {
  const server = await startMemoryServer([served]);
  const client = await server.connect();
  const flags = await client.go('disk', { extended: true, contexts, infoTypes });
  return { server, client, flags };
}

type Extended = Parameters<typeof encodeExtendedRequest>[0];

async function ask(client: RawClient, request: Extended): Promise<ExtendedChunk[]> {
  client.send(encodeExtendedRequest(request));
  return client.extendedChunks();
}

/** The error of a reply of one chunk; 0 if it is not an error. */
async function errorOf(client: RawClient, request: Extended): Promise<number> {
  const [chunk] = await ask(client, request);
  return chunk!.type === ReplyChunk.ERROR ? chunk!.payload.readUInt32BE(0) : 0;
}

/** The extents of a chunk, as pairs of length and status, after a check of its count. */
function extentsIn({ type, payload }: ExtendedChunk): [contextId: number, extents: bigint[][]] {
  expect(type).toBe(ReplyChunk.BLOCK_STATUS_EXT);
  const count = payload.readUInt32BE(4);
  expect(payload).toHaveLength(8 + 16 * count);
  const extents = Array.from({ length: count }, (_, i) => [
    payload.readBigUInt64BE(8 + 16 * i),
    payload.readBigUInt64BE(16 + 16 * i),
  ]);
  return [payload.readUInt32BE(0), extents];
}

/** A disk of 16 TiB that is told what to do and does nothing. */
class VastDevice extends FilterDevice {
  readonly calls: string[] = [];
  /** Awaited before each call. */
  wait: () => Promise<Errno> = async () => OK;

  override get sizeBytes(): number {
    return 16 * TIB;
  }

  override zero(offset: number, length: number, { fastOnly, keepAllocated }: ZeroOptions): Promise<Errno> {
    return this.note(`zero ${offset / GIB} ${length / GIB}${fastOnly ? ' fast' : ''}${keepAllocated ? ' kept' : ''}`);
  }

  override trim(offset: number, length: number): Promise<Errno> {
    return this.note(`trim ${offset / GIB} ${length / GIB}`);
  }

  override cache(offset: number, length: number): Promise<Errno> {
    return this.note(`cache ${offset / GIB} ${length / GIB}`);
  }

  override async flush(): Promise<Errno> {
    this.calls.push('flush');
    return OK;
  }

  override async extents(_offset: number, length: number, list: ExtentList): Promise<Errno> {
    list.add(length, 3);
    return OK;
  }

  private note(call: string): Promise<Errno> {
    this.calls.push(call);
    return this.wait();
  }
}

async function vast(contexts: string[] = []) {
  const device = new VastDevice(new MemoryDevice(MIB));
  return { device, ...(await connected({ contexts }, { name: 'disk', device })) };
}

test('1.7 EXTENDED_HEADERS is agreed on once, without data, before or after structured replies', async () => {
  const server = await startMemoryServer();
  for (const first of [undefined, Option.STRUCTURED_REPLY]) {
    const client = await server.connect();
    await client.greet();
    const types = async (option: number, data?: Buffer) => {
      client.option(option, data);
      return (await client.replies()).map(({ type }) => type);
    };
    if (first !== undefined) expect(await types(first)).toEqual([OptionReply.ACK]);
    expect(await types(Option.EXTENDED_HEADERS, Buffer.alloc(1))).toEqual([OptionError.INVALID]);
    expect(await types(Option.EXTENDED_HEADERS)).toEqual([OptionReply.ACK]);
    expect(await types(Option.EXTENDED_HEADERS)).toEqual([OptionError.INVALID]);
    expect(await types(Option.STRUCTURED_REPLY)).toEqual([OptionError.EXT_HEADER_REQD]);
    expect(await types(Option.SET_META_CONTEXT, metaData('disk', BOTH))).toEqual([
      OptionReply.META_CONTEXT,
      OptionReply.META_CONTEXT,
      OptionReply.ACK,
    ]);
  }
});

test('1.7 EXPORT_NAME after EXTENDED_HEADERS ends the session', async () => {
  const client = await (await startMemoryServer()).connect();
  await client.greet();
  client.option(Option.EXTENDED_HEADERS);
  await client.replies();
  client.option(Option.EXPORT_NAME, Buffer.from('disk'));
  expect(await client.rest()).toHaveLength(0);
});

test('1.7 BLOCK_STATUS_PAYLOAD is offered with extended headers and contexts, alike by INFO and GO', async () => {
  const offers = (flags: number) => (flags & TransmissionFlag.BLOCK_STATUS_PAYLOAD) !== 0;
  const server = await startMemoryServer();
  const client = await server.connect();
  await client.greet();
  const flagsBy = async (option: number) => {
    client.option(option, infoData('disk'));
    const info = (await client.replies()).find(({ type }) => type === OptionReply.INFO)!;
    return info.data.readUInt16BE(10);
  };
  client.option(Option.EXTENDED_HEADERS);
  await client.replies();
  expect(offers(await flagsBy(Option.INFO))).toBe(false);
  client.option(Option.SET_META_CONTEXT, metaData('disk', BOTH));
  await client.replies();
  expect(offers(await flagsBy(Option.INFO))).toBe(true);
  expect(offers(await flagsBy(Option.GO))).toBe(true);
  expect(offers((await connected()).flags)).toBe(false);
  expect(offers(await (await server.connect()).go('disk', { contexts: BOTH }))).toBe(false);
});

test('1.7 every reply repeats the offset of its request to the bit, even where no disk is', async () => {
  const { client } = await connected();
  const offsets = [0n, 4096n, 2n ** 53n + 1n, 2n ** 63n + 1n, 2n ** 64n - 1n];
  for (const command of Object.values(Command).filter((one) => one !== Command.DISC)) {
    const rest = command === Command.WRITE ? { payload: Buffer.alloc(512) } : { length: 512 };
    for (const offset of offsets) {
      const chunks = await ask(client, { command, offset, cookie: offset, ...rest });
      for (const chunk of chunks) expect([chunk.offset, chunk.cookie], `command ${command}`).toEqual([offset, offset]);
    }
  }
});

test('1.7 no reply is simple: a change, a flush and an error are chunks too', async () => {
  const { client } = await connected();
  const data = Buffer.alloc(5000, 7);
  const done = { type: ReplyChunk.NONE, flags: nbd.REPLY_FLAG_DONE, payload: Buffer.alloc(0) };
  expect(await ask(client, { command: Command.WRITE, offset: 65_533, payload: data })).toMatchObject([done]);
  expect(await ask(client, { command: Command.FLUSH })).toMatchObject([done]);
  expect(await ask(client, { command: Command.READ, offset: 0, length: 0 })).toMatchObject([done]);
  const [read] = await ask(client, { command: Command.READ, offset: 65_533, length: 5000 });
  expect(read).toMatchObject({ type: ReplyChunk.OFFSET_DATA, flags: nbd.REPLY_FLAG_DONE, offset: 65_533n });
  expect(read!.payload.readBigUInt64BE(0)).toBe(65_533n);
  expect(read!.payload.subarray(8)).toEqual(data);
  const [error] = await ask(client, { command: 42 });
  expect(error).toMatchObject({ type: ReplyChunk.ERROR, flags: nbd.REPLY_FLAG_DONE });
  expect(error!.payload.toString('utf8', 6)).toBe('the server does not know command 42');
});

test('1.7 a write without PAYLOAD_LEN is served, because its payload follows all the same', async () => {
  const { client } = await connected();
  const write = { command: Command.WRITE, payload: Buffer.alloc(512, 5) };
  expect(await errorOf(client, { ...write, flags: 0 })).toBe(0);
  expect(await errorOf(client, { ...write, flags: CommandFlag.FUA })).toBe(0);
  const [read] = await ask(client, { command: Command.READ, length: 512 });
  expect(read!.payload.subarray(8)).toEqual(write.payload);
});

test('1.7 an unexpected payload is skipped before the request fails', async () => {
  const { client } = await connected({ contexts: BOTH });
  const payload = encodeExtendedRequest({ command: Command.WRITE, payload: Buffer.alloc(1024, 9) });
  const others = Object.values(Command).filter((one) => ![Command.WRITE, Command.DISC].includes(one as 1));
  for (const command of [...others, 42]) expect(await errorOf(client, { command, payload })).toBe(NbdError.EINVAL);
  expect(await errorOf(client, { command: Command.TRIM, payload: Buffer.alloc(40 * MIB) })).toBe(NbdError.EINVAL);
  const [read] = await ask(client, { command: Command.READ, length: 2048 });
  expect(read!.payload.subarray(8)).toEqual(Buffer.alloc(2048));
});

test.each([
  ['a write', Command.WRITE, 0],
  ['a write with its flag', Command.WRITE, CommandFlag.PAYLOAD_LEN],
  ['an unexpected payload', Command.READ, CommandFlag.PAYLOAD_LEN],
  ['a list of contexts', Command.BLOCK_STATUS, CommandFlag.PAYLOAD_LEN],
])('1.7 the connection ends when %s is too long to be skipped', async (_name, command, flags) => {
  for (const length of [64 * MIB + 1, 2n ** 60n, 2n ** 64n - 1n]) {
    const { client } = await connected({ contexts: BOTH });
    client.send(encodeExtendedRequest({ command, flags, length }));
    expect(await client.rest()).toHaveLength(0);
  }
});

test('1.7 only requests with an extended header are understood', async () => {
  const { client } = await connected();
  client.request({ command: Command.READ, length: 512 });
  client.send(Buffer.alloc(4));
  expect(await client.rest()).toHaveLength(0);
});

test('1.7 a range of many terabytes is served, and one beyond the end is refused', async () => {
  const { client, device } = await vast();
  const range = { offset: GIB, length: 9 * GIB };
  expect(await errorOf(client, { command: Command.TRIM, ...range })).toBe(0);
  expect(await errorOf(client, { command: Command.WRITE_ZEROES, ...range, flags: CommandFlag.NO_HOLE })).toBe(0);
  expect(await errorOf(client, { command: Command.CACHE, ...range })).toBe(0);
  expect(device.calls).toEqual([
    ...['trim 1 3', 'trim 4 4', 'trim 8 2'],
    ...['zero 1 3 kept', 'zero 4 4 kept', 'zero 8 2 kept'],
    'cache 1 9',
  ]);
  for (const length of [16 * TIB, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    expect(await errorOf(client, { command: Command.TRIM, offset: 512, length })).toBe(NbdError.EINVAL);
    expect(await errorOf(client, { command: Command.WRITE_ZEROES, offset: 512, length })).toBe(NbdError.ENOSPC);
  }
  expect(await errorOf(client, { command: Command.READ, length: 16 * TIB })).toBe(NbdError.EOVERFLOW);
});

test('up to 4 GiB are changed in one piece, and FUA flushes once at the end', async () => {
  const { client, device } = await vast();
  await errorOf(client, { command: Command.TRIM, offset: 3 * GIB, length: 4 * GIB });
  await errorOf(client, { command: Command.WRITE_ZEROES, length: 8 * GIB, flags: CommandFlag.FUA });
  expect(device.calls).toEqual(['trim 3 4', 'zero 0 4', 'zero 4 4', 'flush']);
});

test('FAST_ZERO fails at the first part or not at all, and another error ends the rest', async () => {
  const { client, device } = await vast();
  await errorOf(client, { command: Command.WRITE_ZEROES, length: 8 * GIB, flags: CommandFlag.FAST_ZERO });
  expect(device.calls.splice(0)).toEqual(['zero 0 4 fast', 'zero 4 4']);
  device.wait = async () => (device.calls.length < 2 ? OK : 28);
  expect(await errorOf(client, { command: Command.WRITE_ZEROES, length: TIB })).toBe(NbdError.ENOSPC);
  expect(device.calls).toEqual(['zero 0 4', 'zero 4 4']);
});

/** A client that trims 12 GiB, which is three parts. Each takes until `partDone` is called. */
async function trimming() {
  const { client, device, server } = await vast();
  const waiting: (() => void)[] = [];
  device.wait = () => new Promise((resolve) => waiting.push(() => resolve(OK)));
  client.send(encodeExtendedRequest({ command: Command.TRIM, length: 12 * GIB }));
  const begun = async () => {
    while (waiting.length === 0) await setImmediate();
  };
  await begun();
  return { client, device, server, begun, partDone: () => waiting.pop()!() };
}

test('a change of terabytes is not completed for a client that has gone', async () => {
  const { client, device, server, partDone } = await trimming();
  client.end();
  // When the server has answered another client, it has also seen that this one has gone.
  await (await server.connect()).go('disk');
  partDone();
  while (server.exports.get('disk').clientCount > 1) await setImmediate();
  expect(device.calls).toEqual(['trim 0 4']);
});

test('a change of terabytes is completed for a client that disconnects in order', async () => {
  const { client, device, server, begun, partDone } = await trimming();
  client.send(encodeExtendedRequest({ command: Command.DISC }));
  client.end();
  await (await server.connect()).go('disk');
  for (let parts = 0; parts < 3; parts++) {
    await begun();
    partDone();
  }
  expect((await client.extendedChunks())[0]!.type).toBe(ReplyChunk.NONE);
  expect(device.calls).toEqual(['trim 0 4', 'trim 4 4', 'trim 8 4']);
});

test('a server that stops does not complete a change of terabytes, and says so', async () => {
  const { client, device, server, partDone } = await trimming();
  const drained = server.listener.drain();
  partDone();
  const [chunk] = await client.extendedChunks();
  expect(chunk!.payload.readUInt32BE(0)).toBe(NbdError.ESHUTDOWN);
  await drained;
  expect(device.calls).toEqual(['trim 0 4']);
});

test('1.7 the block status of 16 TiB is one descriptor for each context', async () => {
  const { client } = await vast(['base:allocation', 'qemu:allocation-depth']);
  const chunks = await ask(client, { command: Command.BLOCK_STATUS, length: 16 * TIB });
  expect(chunks.map(extentsIn)).toEqual([
    [1, [[16n * 2n ** 40n, 3n]]],
    [2, [[16n * 2n ** 40n, 1n]]],
  ]);
});

test('1.7 a payload chooses some of the contexts, and says the length', async () => {
  const { client, server } = await connected({ contexts: [...BOTH, 'qemu:allocation-depth'] });
  const other = await server.connect();
  await other.go('disk');
  other.request({ command: Command.WRITE, offset: MIB, payload: Buffer.alloc(512, 1) });
  await other.structuredError();
  const status = async (payload: Buffer, flags = 0) => {
    const request = { command: Command.BLOCK_STATUS, offset: MIB - 65_536, payload };
    return (await ask(client, { ...request, flags: CommandFlag.PAYLOAD_LEN | flags })).map(extentsIn);
  };
  const dirty = [
    [65_536n, 0n],
    [65_536n, 1n],
  ];
  expect(await status(statusPayload(2 * 65_536, 2))).toEqual([[2, dirty]]);
  expect(await status(statusPayload(2 * 65_536, 3, 2))).toEqual([
    [2, dirty],
    [3, [[131_072n, 1n]]],
  ]);
  expect(await status(statusPayload(2 * 65_536, 2, 3), CommandFlag.REQ_ONE)).toEqual([
    [2, [[65_536n, 0n]]],
    [3, [[65_536n, 1n]]],
  ]);
});

test.each([
  ['an unknown context', statusPayload(512, 3)],
  ['the same context twice', statusPayload(512, 1, 1)],
  ['a known and an unknown context', statusPayload(512, 1, 0)],
  ['no context', statusPayload(512)],
  ['too many contexts', statusPayload(512, 1, 2, 3)],
  ['half a context', statusPayload(512, 1).subarray(0, 10)],
  ['nothing', Buffer.alloc(0)],
  ['a length of 0', statusPayload(0, 1)],
  ['a length beyond the end', statusPayload(DISK_BYTES + 512, 1)],
  ['the largest length', statusPayload(2n ** 64n - 1n, 1)],
  ['a length that is not aligned', statusPayload(100, 1)],
])('1.7 a payload with %s is consumed, and the request is invalid', async (_name, payload) => {
  const { client } = await connected({ contexts: BOTH, infoTypes: [nbd.InfoType.BLOCK_SIZE] });
  const flags = CommandFlag.PAYLOAD_LEN;
  expect(await errorOf(client, { command: Command.BLOCK_STATUS, flags, payload })).toBe(NbdError.EINVAL);
  expect(await errorOf(client, { command: Command.READ, length: 512 })).toBe(0);
});

test('1.7 without contexts, a payload of BLOCK_STATUS is invalid', async () => {
  const { client } = await connected();
  const request = { command: Command.BLOCK_STATUS, payload: statusPayload(512, 1) };
  expect(await errorOf(client, request)).toBe(NbdError.EINVAL);
  expect(await errorOf(client, { command: Command.FLUSH })).toBe(0);
});
