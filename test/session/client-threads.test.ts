import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { extentsOf } from '../../src/client/block-status-walk.js';
import type { NbdClient } from '../../src/client/nbd-client.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { Command, Option } from '../../src/protocol/constants.js';
import type { ClientThread } from '../../src/session/threads/client-thread-owner.js';
import { ClientThreads } from '../../src/session/threads/client-threads.js';
import { Random, testSeed } from '../support/random.js';
import { writeAtRandom } from '../support/random-writers.js';
import { encodeOption, encodeRequest, infoData, u32 } from '../support/raw-client.js';
import { ThreadServer } from '../support/thread-server.js';

const DISK = 4 * MIB;
const GRANULE = 64 * KIB;
const DIRTY = 'qemu:dirty-bitmap:nightly';
const BASE = 'base:allocation';

/** The clients in the order in which they connected: the first one is in the main thread. */
async function serverWithClients(count = 2, options = {}) {
  const server = await ThreadServer.start(DISK, options);
  const clients: NbdClient[] = [];
  for (let i = 0; i < count; i++) clients.push(await server.connect({ contexts: [BASE, DIRTY] }));
  return { server, clients, here: clients[0]!, there: clients[1]! };
}

async function statuses(client: NbdClient, context: string): Promise<number[]> {
  const granules: number[] = [];
  for await (const window of client.extents()) {
    for (const { offset, length, status } of extentsOf(window, context)) {
      for (let at = offset; at < offset + length; at += GRANULE) granules[at / GRANULE] = status;
    }
  }
  return granules;
}

describe('the clients of a disk', () => {
  test('are spread over the threads, the main thread first', async () => {
    const { server, clients } = await serverWithClients(5);
    expect(server.clientCounts).toEqual([2, 2, 1]);
    await clients[0]!.disconnect();
    await expect.poll(() => server.clientCounts).toEqual([1, 2, 1]);
    await server.connect();
    expect(server.clientCounts).toEqual([2, 2, 1]);
  });

  test('of several disks are spread too', async () => {
    const { server } = await serverWithClients(1, { disks: 3 });
    await server.connect({}, 'disk1');
    await server.connect({}, 'disk2');
    expect(server.clientCounts).toEqual([1, 1, 1]);
    await server.connect({}, 'disk2');
    expect(server.clientCounts).toEqual([2, 1, 1]);
  });

  test('stay in the main thread if there is no other', async () => {
    const { server } = await serverWithClients(3, { threads: 1 });
    expect(server.clientCounts).toEqual([3]);
    expect(server.permits).toBeUndefined();
  });

  test('stay in the main thread while the system allows no more threads', async () => {
    const { server } = await serverWithClients(1);
    const starting = vi.spyOn(ClientThreads.prototype as unknown as { start(): ClientThread }, 'start');
    starting.mockImplementationOnce(() => {
      throw new Error('EAGAIN');
    });
    const client = await server.connect();
    await client.write(0, Buffer.alloc(GRANULE, 1));
    expect(server.clientCounts).toEqual([2]);
    expect(server.complaints).toHaveLength(1);
    await client.disconnect();
    expect(server.sharesInUse).toBe(0);
    await server.connect();
    expect(server.clientCounts).toEqual([1, 1]);
  });

  test('stay in the main thread once the program was replaced, because a thread would be of another version', async () => {
    const { server } = await serverWithClients(1);
    server.replaceProgram();
    await server.connect();
    expect(server.clientCounts).toEqual([2]);
    expect(server.complaints).toHaveLength(1);
  });

  test('see what the others write, whatever thread they are in', async () => {
    const { clients } = await serverWithClients(3);
    for (const [i, writer] of clients.entries()) {
      const data = Buffer.alloc(8 * KIB, i + 1);
      await writer.write(i * GRANULE + 512, data);
      for (const reader of clients) expect((await reader.read(i * GRANULE + 512, data.length)).equals(data)).toBe(true);
    }
  });
});

describe('a client in another thread', () => {
  test('can do everything that one in the main thread can', async () => {
    const { server, here, there } = await serverWithClients();
    expect(server.clientCounts[1]).toBe(1);
    await there.write(0, Buffer.alloc(GRANULE, 1));
    await there.write(GRANULE, Buffer.alloc(2 * GRANULE, 2), { fua: true });
    await there.zero(GRANULE, GRANULE);
    await there.trim(2 * GRANULE, GRANULE);
    await there.cache(0, DISK);
    await there.flush();
    expect(await statuses(there, DIRTY)).toEqual(await statuses(here, DIRTY));
    expect(await statuses(there, BASE)).toEqual(await statuses(here, BASE));
    expect((await statuses(there, DIRTY)).slice(0, 5)).toEqual([1, 1, 1, 0, 0]);
    expect(readFileSync(server.image).subarray(0, GRANULE).equals(Buffer.alloc(GRANULE, 1))).toBe(true);
    await there.disconnect();
    await expect.poll(() => server.clientCounts).toEqual([1, 0]);
  });

  test('is described with what it has done', async () => {
    const { server, there } = await serverWithClients();
    await there.write(0, Buffer.alloc(8 * KIB, 1));
    await there.read(0, 4 * KIB);
    expect(server.served.clients()[1]).toMatchObject({ requests: 2, bytesWritten: 8 * KIB, bytesRead: 4 * KIB });
    await there.disconnect();
    await expect.poll(() => server.served.counters()).toMatchObject({ requests: 3, bytesWritten: 8 * KIB });
  });

  test('asks once for each unit of the bitmaps, then writes by itself', async () => {
    const { server, there } = await serverWithClients();
    const { calls } = server.countCalls();
    // The first of them waits for its mark, so only the second one opens the permits.
    for (let at = 0; at < GRANULE; at += 4 * KIB) await there.write(at, Buffer.alloc(4 * KIB, 2));
    expect(calls).toEqual(['write', 'write']);
    await there.write(GRANULE, Buffer.alloc(4 * KIB, 1));
    expect(calls).toEqual(['write', 'write', 'write']);
  });

  test('asks again after a cut', async () => {
    const { server, there } = await serverWithClients();
    for (let i = 0; i < 3; i++) await there.write(0, Buffer.alloc(4 * KIB, 1));
    const { calls } = server.countCalls();
    await changeAtOneInstant([server.served], {
      apply: (undos, instant) => void undos.push(instant.get(server.served).bitmaps.get('nightly').clear()),
    });
    await there.write(0, Buffer.alloc(4 * KIB, 2));
    expect(calls).toEqual(['write']);
    expect((await statuses(there, DIRTY))[0]).toBe(1);
  });

  test('is served to the end when the export is closed', async () => {
    const { server, there } = await serverWithClients();
    const writes = Array.from({ length: 40 }, (_, i) => there.write(i * GRANULE, Buffer.alloc(GRANULE, i + 1)));
    const ends = Promise.allSettled(writes);
    await writes[0];
    await server.exports.remove('disk');
    const done = (await ends).filter(({ status }) => status === 'fulfilled').length;
    const content = readFileSync(server.image);
    for (let i = 0; i < done; i++) expect(content[i * GRANULE]).toBe(i + 1);
    expect(server.complaints).toEqual([]);
  });

  test('can be disconnected', async () => {
    const { server, there } = await serverWithClients();
    const { id } = server.served.clients()[1]!;
    expect(await server.served.disconnect(id)).toBe(true);
    await expect(there.read(0, 512)).rejects.toThrow();
    expect(server.clientCounts).toEqual([1, 0]);
  });

  test.each([
    ['trace', ['log', 'flush', 'log']],
    ['debug', ['log', 'flush']],
    ['info', ['flush']],
  ])('costs the main thread no line that is not logged at the level %s', async (logLevel, expected) => {
    const { server } = await serverWithClients(1, { logLevel });
    const client = await server.connectRaw();
    await client.go('disk', { structured: false });
    await expect.poll(() => server.clientCounts).toEqual([1, 1]);
    const { calls } = server.countCalls();
    client.request({ command: Command.READ, offset: DISK, length: 512 });
    expect((await client.simpleReply()).error).not.toBe(0);
    client.request({ command: Command.FLUSH });
    expect((await client.simpleReply()).error).toBe(0);
    await expect.poll(() => calls).toEqual(expected);
  });

  test('is logged at the level of the log, also after that has changed', async () => {
    const { server, there } = await serverWithClients(2, { logLevel: 'info' });
    const { calls } = server.countCalls();
    /** The line of a flush comes before the next flush. */
    const isTraced = async () => {
      calls.length = 0;
      await there.flush();
      await there.flush();
      return calls.slice(0, 3).includes('log');
    };
    expect(await isTraced()).toBe(false);
    server.useLogLevel('trace');
    await expect.poll(isTraced).toBe(true);
    server.useLogLevel('warn');
    await expect.poll(isTraced).toBe(false);
  });

  test('gets the errors that one in the main thread gets', async () => {
    const { here, there } = await serverWithClients();
    const refusalOf = (client: NbdClient) => client.read(DISK, 512).catch((error: Error) => error.message);
    expect(await refusalOf(there)).toBe(await refusalOf(here));
  });
});

describe('what a client sends together with the end of its handshake', () => {
  const first = Buffer.alloc(20 * KIB, 1);
  const second = Buffer.alloc(300 * KIB, 2);
  const handshake = Buffer.concat([u32(3), encodeOption(Option.GO, infoData('disk'))]);
  const requests = Buffer.concat([
    encodeRequest({ command: Command.WRITE, cookie: 1n, payload: first }),
    encodeRequest({ command: Command.WRITE, cookie: 2n, offset: first.length, payload: second }),
  ]);

  test.each([0, 1, 27, 28, 29, 5000, 20 * KIB + 28, 21 * KIB, 200 * KIB])(
    'moves with it: %d bytes of its requests',
    async (together) => {
      const { server } = await serverWithClients(1);
      const client = await server.connectRaw();
      client.send(Buffer.concat([handshake, requests.subarray(0, together)]));
      await expect.poll(() => server.clientCounts).toEqual([1, 1]);
      for (let at = together; at < requests.length; at += 50 * KIB) {
        await client.sent(requests.subarray(at, at + 50 * KIB));
        await new Promise(setImmediate);
      }
      await client.read(18);
      await client.replies();
      expect((await client.simpleReply()).error).toBe(0);
      expect((await client.simpleReply()).error).toBe(0);
      const content = readFileSync(server.image);
      expect(content.subarray(0, first.length).equals(first)).toBe(true);
      expect(content.subarray(first.length, first.length + second.length).equals(second)).toBe(true);
    },
  );
});

describe('a thread that dies', () => {
  test('takes only its own clients with it, and the next client gets a new one', async () => {
    const { server, clients } = await serverWithClients(3);
    const [here, there, elsewhere] = clients as [NbdClient, NbdClient, NbdClient];
    for (const client of clients) await client.write(0, Buffer.alloc(GRANULE, 1));
    await server.kill(0);
    await expect(there.read(0, 512)).rejects.toThrow();
    await expect.poll(() => server.clientCounts).toEqual([1, 0, 1]);
    expect(server.complaints).toEqual([
      { fields: { slot: 0, clients: 1 }, message: expect.stringMatching('a thread') },
    ]);
    await elsewhere.write(0, Buffer.alloc(GRANULE, 2));
    await changeAtOneInstant([server.served], { apply: () => undefined });
    const next = await server.connect();
    expect(server.clientCounts).toEqual([1, 1, 1]);
    await next.write(0, Buffer.alloc(GRANULE, 3));
    expect((await here.read(0, 512))[0]).toBe(3);
  });

  test('before it has taken a client over does not keep that client waiting', async () => {
    const { server, here } = await serverWithClients(1, { threads: 2 });
    const connecting = server.connect().then((client) => client.read(0, 512));
    const refused = expect(connecting).rejects.toThrow();
    await expect.poll(() => server.clientCounts).toEqual([1, 1]);
    await server.kill(0);
    await refused;
    expect(server.clientCounts).toEqual([1, 0]);
    await here.read(0, 512);
    // It would probably happen again.
    await server.connect();
    expect(server.clientCounts).toEqual([2, 0]);
  });

  test('in the middle of writes holds up no cut', async () => {
    const seed = testSeed();
    const random = new Random(seed);
    const { server, there } = await serverWithClients();
    for (let at = 0; at < DISK; at += GRANULE) await there.write(at, Buffer.alloc(GRANULE, 1));
    const writes = Array.from({ length: 500 }, () =>
      there.write(random.below(DISK / GRANULE) * GRANULE, Buffer.alloc(GRANULE, 2)).catch(() => {}),
    );
    await writes[10];
    await server.kill(0);
    await Promise.all(writes);
    await changeAtOneInstant([server.served], { apply: () => undefined });
    expect(server.sharesInUse).toBe(0);
  });
});

describe.each([512, 4096, 65_536])('with a bitmap of %d bytes, threads that write at random', (granularity) => {
  test('leave the disk, its bitmaps and its counters as a single thread would', async () => {
    const { server, clients } = await serverWithClients(4, { bitmap: `nightly:${granularity}` });
    await writeAtRandom(server, clients, { writesEach: 150, granularityBytes: granularity });
  });
});
