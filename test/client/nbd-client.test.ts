import { describe, expect, test } from 'vitest';
import { BugError } from '../../src/base/assert.js';
import { extentsOf } from '../../src/client/block-status-walk.js';
import { NbdConnectionError, NbdUnsupportedError } from '../../src/client/errors.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { u16, u32, u64 } from '../support/raw-client.js';
import {
  chunk,
  DONE,
  dataChunk,
  holeChunk,
  type ReceivedRequest,
  type ScriptedExport,
  type ScriptedPeer,
  simpleReply,
  startScriptedServer,
  statusChunk,
} from '../support/scripted-server.js';

const ERROR = 2 ** 15 + 1;
const ERROR_OFFSET = 2 ** 15 + 2;
const WRITE = 1;

/** A client of a server that follows the script after a valid handshake. */
async function connectTo(script: (server: ScriptedPeer) => Promise<void>, served: ScriptedExport = {}) {
  const target = await startScriptedServer(async (server) => {
    await server.open(served);
    await script(server);
  });
  return NbdClient.connect(target, { contexts: Object.keys(served.contexts ?? {}) });
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

describe('a read', () => {
  test('puts data and holes in their places, in whatever order they arrive', async () => {
    const client = await connectTo(async (server) => {
      const { cookie } = await server.request();
      server.send(dataChunk(cookie, 0, 3072, Buffer.alloc(1024, 3)), holeChunk(cookie, 0, 1024, 1024));
      server.send(dataChunk(cookie, 0, 0, Buffer.alloc(1024, 1)), dataChunk(cookie, 0, 2048, Buffer.alloc(1024, 2)));
      server.send(chunk(cookie, DONE, 0));
      await server.request();
    });
    const data = await client.read(0, 4096, Buffer.alloc(4096, 9));
    expect(data).toEqual(Buffer.concat([1, 0, 2, 3].map((value) => Buffer.alloc(1024, value))));
  });

  test('fills its part of the given buffer and nothing else', async () => {
    const client = await connectTo(async (server) => {
      const { cookie } = await server.request();
      server.send(dataChunk(cookie, DONE, 0, Buffer.alloc(512, 1)));
      await server.request();
    });
    const into = Buffer.alloc(600, 9);
    const data = await client.read(0, 512, into);
    expect(data.buffer).toBe(into.buffer);
    expect(data.length).toBe(512);
    expect(into).toEqual(Buffer.concat([Buffer.alloc(512, 1), Buffer.alloc(88, 9)]));
  });

  test('fails with the error and the message of the server, after the whole reply has arrived', async () => {
    const client = await connectTo(async (server) => {
      const first = await server.request();
      const error = Buffer.concat([u32(5), u16(8), Buffer.from('bad disk'), u64(512)]);
      server.send(dataChunk(first.cookie, 0, 0, Buffer.alloc(1024)), chunk(first.cookie, 0, ERROR_OFFSET, error));
      server.send(dataChunk(first.cookie, DONE, 1024, Buffer.alloc(1024)));
      const second = await server.request();
      server.send(dataChunk(second.cookie, DONE, 0, Buffer.alloc(512, 2)));
      await server.request();
    });
    await expect(client.read(0, 4096)).rejects.toMatchObject({
      errno: 5,
      code: 'EIO',
      serverMessage: 'bad disk',
      message: 'the server failed to read 4096 bytes at 0: EIO, bad disk',
    });
    expect(await client.read(0, 512)).toEqual(Buffer.alloc(512, 2));
  });

  test('keeps the first of several errors', async () => {
    const client = await connectTo(async (server) => {
      const { cookie } = await server.request();
      server.send(chunk(cookie, 0, ERROR, Buffer.concat([u32(28), u16(0)])));
      server.send(chunk(cookie, DONE, ERROR, Buffer.concat([u32(5), u16(0)])));
      await server.request();
    });
    await expect(client.read(0, 512)).rejects.toMatchObject({ code: 'ENOSPC' });
  });

  test('gets its own data when many requests are in flight and are answered in reverse order', async () => {
    const count = 200;
    const client = await connectTo(async (server) => {
      const requests: ReceivedRequest[] = [];
      while (requests.length < count) requests.push(await server.request());
      for (const { cookie, offset } of requests.reverse()) {
        server.send(dataChunk(cookie, DONE, Number(offset), Buffer.alloc(512, Number(offset) / 512)));
      }
      await server.request();
    });
    const reads = Array.from({ length: count }, (_, index) => client.read(index * 512, 512));
    const data = await Promise.all(reads);
    expect(data.map((buffer) => buffer[511])).toEqual(Array.from({ length: count }, (_, index) => index));
  });
});

describe('a request', () => {
  test.each([
    ['a write with FUA', 1, 1, (client: NbdClient) => client.write(512, Buffer.alloc(512), { fua: true })],
    ['a flush', 3, 0, (client: NbdClient) => client.flush()],
    ['a trim', 4, 0, (client: NbdClient) => client.trim(512, 512)],
    ['a cache', 5, 0, (client: NbdClient) => client.cache(512, 512)],
    ['a zero', 6, 0, (client: NbdClient) => client.zero(512, 512)],
    [
      'a zero with all its options',
      6,
      1 | 2 | 16,
      (client: NbdClient) => client.zero(512, 512, { fua: true, noHole: true, fast: true }),
    ],
  ])('%s is sent with its command and flags', async (_, command, flags, ask) => {
    const seen: ReceivedRequest[] = [];
    const client = await connectTo(
      async (server) => {
        const request = await server.request();
        seen.push(request);
        if (request.command === WRITE) await server.read(request.length);
        server.send(chunk(request.cookie, DONE, 0));
        await server.request();
      },
      { flags: 0xfff & ~2 },
    );
    await ask(client);
    const range = command === 3 ? { offset: 0n, length: 0 } : { offset: 512n, length: 512 };
    expect(seen).toMatchObject([{ command, flags, ...range }]);
  });

  test('that the server does not offer is not sent', async () => {
    const client = await connectTo(async (server) => void (await server.request()), { flags: 1 });
    for (const asked of [
      client.flush(),
      client.trim(0, 512),
      client.cache(0, 512),
      client.zero(0, 512),
      client.write(0, Buffer.alloc(512), { fua: true }),
    ]) {
      await expect(asked).rejects.toThrow(NbdUnsupportedError);
    }
  });

  test('that changes a read-only export is not sent', async () => {
    const client = await connectTo(async (server) => void (await server.request()), { flags: 0xfff });
    for (const asked of [client.write(0, Buffer.alloc(512)), client.trim(0, 512), client.zero(0, 512)]) {
      await expect(asked).rejects.toThrow('the server does not offer to change the export');
    }
  });

  test.each([
    ['beyond the end', (client: NbdClient) => client.read(2 ** 20 - 512, 1024)],
    ['of nothing', (client: NbdClient) => client.read(0, 0)],
    ['before the beginning', (client: NbdClient) => client.trim(-512, 512)],
    ['larger than its buffer', (client: NbdClient) => client.read(0, 512, Buffer.alloc(100))],
    ['without a context', (client: NbdClient) => client.blockStatus(0, 512)],
  ])('%s is a mistake of the caller', async (_, ask) => {
    const client = await connectTo(async (server) => void (await server.request()), { flags: 0x21 });
    await expect(ask(client)).rejects.toThrow(BugError);
  });
});

describe('block status', () => {
  const contexts = { 'base:allocation': 1, 'qemu:dirty-bitmap:nightly': 2 };

  test('reports the extents of each context', async () => {
    const client = await connectTo(
      async (server) => {
        const { cookie } = await server.request();
        server.send(
          statusChunk(cookie, 0, 2, [
            [4096, 1],
            [4096, 0],
          ]),
        );
        server.send(statusChunk(cookie, DONE, 1, [[65536, 3]]));
        await server.request();
      },
      { contexts },
    );
    const status = await client.blockStatus(0, 8192);
    expect(status.get('qemu:dirty-bitmap:nightly')).toMatchObject({ lengths: [4096, 4096], statuses: [1, 0] });
    expect(status.get('base:allocation')).toMatchObject({ lengths: [65536], statuses: [3] });
  });

  test('does not extend beyond the end of the export', async () => {
    const client = await connectTo(
      async (server) => {
        const { cookie } = await server.request();
        server.send(statusChunk(cookie, DONE, 1, [[2 ** 30, 0]]));
        await server.request();
      },
      { contexts: { 'base:allocation': 1 }, sizeBytes: 65536 },
    );
    expect((await client.blockStatus(4096, 512)).get('base:allocation')).toMatchObject({ lengths: [65536 - 4096] });
  });

  test('ends each window at the shortest context, so that contexts never drift apart', async () => {
    const asked: [bigint, number][] = [];
    const client = await connectTo(
      async (server) => {
        for (;;) {
          const { cookie, offset, length } = await server.request();
          asked.push([offset, length]);
          server.send(statusChunk(cookie, 0, 1, [[length, 0]]));
          server.send(
            statusChunk(cookie, DONE, 2, [
              [512, 1],
              [1024, 0],
            ]),
          );
        }
      },
      { contexts, sizeBytes: 4096 },
    );
    const windows = await collect(client.extents());
    expect(asked).toEqual([
      [0n, 4096],
      [1536n, 2560],
      [3072n, 1024],
    ]);
    expect(windows.map(({ offset, length }) => [offset, length])).toEqual([
      [0, 1536],
      [1536, 1536],
      [3072, 1024],
    ]);
    expect([...extentsOf(windows[2]!, 'qemu:dirty-bitmap:nightly')]).toEqual([
      { offset: 3072, length: 512, status: 1 },
      { offset: 3584, length: 512, status: 0 },
    ]);
    expect([...extentsOf(windows[0]!, 'base:allocation')]).toEqual([{ offset: 0, length: 1536, status: 0 }]);
  });

  test('of a disk larger than one request can cover is read piece by piece', async () => {
    const asked: [bigint, number][] = [];
    const client = await connectTo(
      async (server) => {
        for (;;) {
          const { cookie, offset, length } = await server.request();
          asked.push([offset, length]);
          server.send(statusChunk(cookie, DONE, 1, [[length, 0]]));
        }
      },
      { contexts: { 'base:allocation': 1 }, sizeBytes: 2 ** 33 },
    );
    await collect(client.extents());
    const most = 2 ** 32 - 4096;
    expect(asked).toEqual([
      [0n, most],
      [BigInt(most), most],
      [2n * BigInt(most), 8192],
    ]);
  });
});

describe('a client that disconnects', () => {
  test('waits for requests in flight, then sends DISC', async () => {
    const seen: number[] = [];
    const client = await connectTo(
      async (server) => {
        const read = await server.request();
        server.send(simpleReply(read.cookie, 22));
        seen.push(read.command, (await server.request()).command);
        server.close();
      },
      { structured: false },
    );
    const reading = expect(client.read(0, 512)).rejects.toMatchObject({ code: 'EINVAL' });
    await client.disconnect();
    await reading;
    expect(seen).toEqual([0, 2]);
    await expect(client.read(0, 512)).rejects.toThrow(NbdConnectionError);
  });

  test('by aborting fails its requests in flight', async () => {
    const client = await connectTo(async (server) => void (await server.request()));
    const reading = expect(client.read(0, 512)).rejects.toThrow(/given up/);
    client.abort();
    await reading;
  });
});
