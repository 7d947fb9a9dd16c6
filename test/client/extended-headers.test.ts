import { describe, expect, onTestFinished, test } from 'vitest';
import { GIB, MIB, TIB } from '../../src/base/units.js';
import type { StatusWindow } from '../../src/client/block-status-walk.js';
import { BlockingReader } from '../../src/client/blocking-reader.js';
import { NbdProtocolError, NbdRemoteError } from '../../src/client/errors.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { ReadRequest } from '../../src/client/read-request.js';
import { loadPosix } from '../../src/posix/posix.js';
import * as nbd from '../../src/protocol/constants.js';
import { keepLog } from '../support/log-lines.js';
import { MemoryDevice } from '../support/memory-device.js';
import { startMemoryServer } from '../support/memory-server.js';
import { u16, u32, u64 } from '../support/raw-client.js';
import {
  chunk,
  DONE,
  extendedChunk,
  extendedStatusChunk,
  type ScriptedExport,
  type ScriptedPeer,
  startScriptedServer,
} from '../support/scripted-server.js';

const { Command, CommandFlag, NbdError, ReplyChunk, TransmissionFlag } = nbd;
const CONTEXTS = { 'base:allocation': 7, 'x:other': 9 };
const ALL_FLAGS = 0xffff & ~TransmissionFlag.READ_ONLY;

type Received = Awaited<ReturnType<ScriptedPeer['extendedRequest']>>;

/** A client of a server with extended headers that answers each request in this way. */
async function connectTo(answer: (request: Received) => Buffer[], served: ScriptedExport = {}) {
  const received: Received[] = [];
  const target = await startScriptedServer(async (server) => {
    await server.open({ extended: true, contexts: CONTEXTS, sizeBytes: 16 * TIB, flags: ALL_FLAGS, ...served });
    for (;;) {
      const request = await server.extendedRequest();
      received.push(request);
      if (request.command === Command.DISC) return void server.close();
      server.send(...answer(request));
    }
  });
  return { client: await NbdClient.connect(target, { contexts: Object.keys(CONTEXTS) }), received };
}

const done = ({ cookie, offset }: Received) => [extendedChunk(cookie, DONE, ReplyChunk.NONE, undefined, { offset })];

test('ranges of terabytes are one request, and only writes have a payload', async () => {
  const { client, received } = await connectTo(done);
  await client.trim(GIB, 10 * TIB);
  await client.zero(0, 16 * TIB, { fua: true });
  await client.cache(0, 5 * GIB);
  await client.write(4096, Buffer.alloc(1000, 3));
  await client.flush();
  await client.disconnect();
  expect(received.map(({ command, flags, length }) => [command, flags, length])).toEqual([
    [Command.TRIM, 0, 10 * TIB],
    [Command.WRITE_ZEROES, CommandFlag.FUA, 16 * TIB],
    [Command.CACHE, 0, 5 * GIB],
    [Command.WRITE, CommandFlag.PAYLOAD_LEN, 1000],
    [Command.FLUSH, 0, 0],
    [Command.DISC, 0, 0],
  ]);
  expect(received[3]!.payload).toEqual(Buffer.alloc(1000, 3));
});

test('a read is placed from chunks of data and holes, and fails with an error and its message', async () => {
  const { client } = await connectTo(({ cookie, offset }) =>
    offset === 0n
      ? [
          extendedChunk(cookie, 0, ReplyChunk.OFFSET_HOLE, Buffer.concat([u64(512), u32(512)])),
          extendedChunk(cookie, DONE, ReplyChunk.OFFSET_DATA, Buffer.concat([u64(0), Buffer.alloc(512, 8)])),
        ]
      : [extendedChunk(cookie, DONE, ReplyChunk.ERROR, Buffer.concat([u32(NbdError.EIO), u16(3), Buffer.from('why')]))],
  );
  expect(await client.read(0, 1024)).toEqual(Buffer.concat([Buffer.alloc(512, 8), Buffer.alloc(512)]));
  await expect(client.read(4096, 512)).rejects.toThrow(NbdRemoteError);
  await expect(client.read(4096, 512)).rejects.toThrow('EIO, why');
});

test('the status of a whole disk is one request, with lengths of 64 bits', async () => {
  const { client, received } = await connectTo(({ cookie }) => [
    extendedStatusChunk(cookie, 0, 7, [
      [10 * TIB, 0],
      [6 * TIB, 3],
    ]),
    extendedStatusChunk(cookie, DONE, 9, [[16 * TIB, 2n ** 32n + 1n]], 0),
  ]);
  const windows: StatusWindow[] = [];
  for await (const window of client.extents()) windows.push(window);
  expect(windows).toHaveLength(1);
  const { extents } = windows[0]!;
  expect(extents.get('base:allocation')).toMatchObject({ lengths: [10 * TIB, 6 * TIB], statuses: [0, 3] });
  expect(extents.get('x:other')).toMatchObject({ lengths: [16 * TIB], statuses: [2 ** 32 + 1] });
  expect(received.map(({ length }) => length)).toEqual([16 * TIB]);
});

test('an extent that is longer than any number ends with the disk, and high flags do not displace low ones', async () => {
  const [longest, high] = [2n ** 64n - 1n, 2n ** 63n];
  const { client } = await connectTo(({ cookie }) => [
    extendedStatusChunk(cookie, 0, 7, [
      [512, high + 1n],
      [longest, high + 2n],
    ]),
    extendedStatusChunk(cookie, DONE, 9, [[longest, high + 3n]]),
  ]);
  for (const offset of [0, GIB]) {
    const status = await client.blockStatus(offset, MIB);
    const totalBytes = 16 * TIB - offset;
    expect(status.get('base:allocation')).toMatchObject({
      lengths: [512, totalBytes - 512],
      statuses: [1, 2],
      totalBytes,
    });
    expect(status.get('x:other')).toMatchObject({ lengths: [totalBytes], statuses: [3], totalBytes });
  }
});

describe('some of the contexts', () => {
  const answer = ({ cookie, payload }: Received) => {
    const ids = payload.length === 0 ? [7, 9] : [payload.readUInt32BE(8)];
    return ids.map((id, i) => extendedStatusChunk(cookie, i === ids.length - 1 ? DONE : 0, id, [[GIB, 1]]));
  };

  test('are asked for in a payload if the server offers that', async () => {
    const { client, received } = await connectTo(answer);
    const status = await client.blockStatus(512, GIB, { contexts: ['x:other'], reqOne: true });
    expect([...status.keys()]).toEqual(['x:other']);
    expect((await client.blockStatus(0, GIB, { contexts: Object.keys(CONTEXTS) })).size).toBe(2);
    expect(received).toMatchObject([
      {
        flags: CommandFlag.PAYLOAD_LEN | CommandFlag.REQ_ONE,
        offset: 512n,
        payload: Buffer.concat([u64(GIB), u32(9)]),
      },
      { flags: 0, length: GIB },
    ]);
  });

  test('come with the others if it does not', async () => {
    const flags = ALL_FLAGS & ~TransmissionFlag.BLOCK_STATUS_PAYLOAD;
    const { client, received } = await connectTo(answer, { flags });
    expect((await client.blockStatus(0, GIB, { contexts: ['x:other'] })).size).toBe(2);
    expect(received).toMatchObject([{ flags: 0, length: GIB }]);
  });
});

describe('the connection ends when the server', () => {
  const refused = async (reason: RegExp, answer: (request: Received) => Buffer[], isRead = false) => {
    const { client } = await connectTo(answer);
    const request = isRead ? client.read(0, 512) : client.blockStatus(0, GIB);
    await expect(request).rejects.toThrow(reason);
    await expect(request).rejects.toThrow(NbdProtocolError);
  };

  test('sends a reply of another form', () =>
    refused(/sent 0x668e33ef where a reply begins/, ({ cookie }) => [chunk(cookie, DONE, 0), Buffer.alloc(12)], true));

  test('announces another number of extents than it sends', () =>
    refused(/sent 1 extents where it announced 2/, ({ cookie }) => [
      extendedStatusChunk(cookie, DONE, 7, [[GIB, 0]], 2),
    ]));

  test('sends extents in the compact form', () =>
    refused(/chunk of type 5/, ({ cookie }) => [
      extendedChunk(cookie, DONE, ReplyChunk.BLOCK_STATUS, Buffer.concat([u32(7), u32(512), u32(0)])),
    ]));

  test('sends half an extent', () =>
    refused(/chunk of type 6 and 16 bytes/, ({ cookie }) => [
      extendedChunk(cookie, DONE, ReplyChunk.BLOCK_STATUS_EXT, Buffer.alloc(16)),
    ]));

  test('sends an extent of length 0', () =>
    refused(/extent of length 0/, ({ cookie }) => [extendedStatusChunk(cookie, DONE, 7, [[0, 0]])]));

  test.each([ReplyChunk.OFFSET_DATA, ReplyChunk.OFFSET_HOLE, ReplyChunk.ERROR, ReplyChunk.BLOCK_STATUS_EXT])(
    'announces a chunk of type %i and of 2^60 bytes',
    (type) =>
      refused(
        /sent/,
        ({ cookie }) => [extendedChunk(cookie, DONE, type, Buffer.alloc(20), { length: 2n ** 60n })],
        type !== ReplyChunk.BLOCK_STATUS_EXT,
      ),
  );
});

test('a detached connection reads with extended headers', async () => {
  const data = Buffer.alloc(512, 6);
  // The reader blocks this thread, so the server answers before it is asked. A connection counts its requests from 1.
  const sent = new Promise<BlockingReader>((resolve) => {
    const ready = startScriptedServer(async (peer) => {
      await peer.open({ extended: true });
      const connection = (await (await client).detach(loadPosix()!))!;
      onTestFinished(() => connection[Symbol.dispose]());
      peer.send(extendedChunk(1n, DONE, ReplyChunk.OFFSET_DATA, Buffer.concat([u64(0), data])));
      resolve(new BlockingReader(connection.facts, () => false));
      expect(await peer.extendedRequest()).toMatchObject({ command: Command.READ, cookie: 1n, length: 512 });
    });
    const client = ready.then((target) => NbdClient.connect(target));
  });
  const reader = await sent;
  const target = Buffer.alloc(512);
  const read = new ReadRequest(0, 512, () => target);
  reader.send([read]);
  reader.receive(0);
  expect(await read.settled).toEqual(data);
});

test('client and server agree on extended headers, and move data and status with them', async () => {
  const { log, lines } = keepLog();
  const device = new MemoryDevice(8 * MIB);
  const served = { name: 'disk', device, bitmaps: ['nightly'] };
  const { path } = await startMemoryServer([served], {}, log);
  const contexts = ['base:allocation', 'qemu:dirty-bitmap:nightly', 'qemu:allocation-depth'];
  const client = await NbdClient.connect({ address: { socketPath: path }, exportName: 'disk' }, { contexts });
  const data = Buffer.alloc(MIB, 4);
  await client.write(MIB, data, { fua: true });
  await client.zero(0, 512 * 1024);
  expect(await client.read(MIB, MIB)).toEqual(data);
  const status = await client.blockStatus(0, 8 * MIB, { contexts: ['qemu:dirty-bitmap:nightly'] });
  expect([...status.keys()]).toEqual(['qemu:dirty-bitmap:nightly']);
  expect((await client.blockStatus(0, 8 * MIB)).get('qemu:allocation-depth')).toMatchObject({
    lengths: [8 * MIB],
    statuses: [1],
  });
  await client.disconnect();
  expect(lines.find(({ message }) => message === 'transmission begins')?.fields).toMatchObject({ replies: 'extended' });
});
