import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import type { NbdClient } from '../../src/client/nbd-client.js';
import { changeAtOneInstant } from '../../src/export/cut.js';
import { Command, Option, OptionError, OptionReply } from '../../src/protocol/constants.js';
import { rulesOf } from '../support/access-rules.js';
import { writeAtRandom } from '../support/random-writers.js';
import { encodeOption, encodeRequest, infoData, metaData, type RawClient } from '../support/raw-client.js';
import { ThreadServer, testKey } from '../support/thread-server.js';

const DISK = 4 * MIB;
const GRANULE = 64 * KIB;

/** The first client is in the main thread, the second one in the first other thread. */
async function serverWithClients(count = 2, options = {}) {
  const server = await ThreadServer.start(DISK, { usesTls: true, ...options });
  const clients: NbdClient[] = [];
  for (let i = 0; i < count; i++) clients.push(await server.connect({ contexts: ['qemu:dirty-bitmap:nightly'] }));
  return { server, clients, here: clients[0]!, there: clients[1]! };
}

/** A client in another thread that has asked for TLS, and knows that it may begin. */
async function asking(server: ThreadServer): Promise<RawClient> {
  const client = await server.connectRaw();
  await client.greet();
  client.option(Option.STARTTLS);
  expect((await client.reply()).type).toBe(OptionReply.ACK);
  return client;
}

describe.each([true, false])('with TLS %s, clients who lose a right', (usesTls) => {
  test('are disconnected in every thread, after their requests in flight', async () => {
    const { server, clients } = await serverWithClients(3, { usesTls });
    expect(server.clientCounts).toEqual([1, 1, 1]);
    const writes = clients.map((client, i) => client.write(i * GRANULE, Buffer.alloc(GRANULE, i + 1)));
    await Promise.all(writes);
    server.useRules(rulesOf('local,rights=read'));
    await expect.poll(() => server.clientCounts).toEqual([0, 0, 0]);
    for (const client of clients) await expect(client.read(0, 512)).rejects.toThrow();
    const reader = await server.connect();
    await expect(reader.write(0, Buffer.alloc(512))).rejects.toThrow();
    expect((await reader.read(2 * GRANULE, 512))[0]).toBe(3);
  });

  test('but can go on without it go on', async () => {
    const { server, here, there } = await serverWithClients(2, { usesTls });
    server.useRules(rulesOf('local,rights=write'));
    await here.write(0, Buffer.alloc(512, 7));
    expect((await there.read(0, 512))[0]).toBe(7);
  });
});

describe('clients with TLS', () => {
  test('are spread over the threads, the main thread first', async () => {
    const { server, clients } = await serverWithClients(5);
    expect(server.clientCounts).toEqual([2, 2, 1]);
    await clients[0]!.disconnect();
    await expect.poll(() => server.clientCounts).toEqual([1, 2, 1]);
    await server.connect();
    expect(server.clientCounts).toEqual([2, 2, 1]);
  });

  test.each(['that threads share', 'that only the owner can use'])('do everything with a disk %s', async (kind) => {
    const { server, here } = await serverWithClients(1);
    if (kind !== 'that threads share') vi.spyOn(server.served, 'share').mockReturnValue(undefined);
    const there = await server.connect();
    expect(server.clientCounts[1]).toBe(1);
    expect(server.served.clients().map(({ tls }) => tls)).toEqual(['TLSv1.3', 'TLSv1.3']);
    const data = randomBytes(MIB);
    await there.write(GRANULE, data);
    expect((await here.read(GRANULE, data.length)).equals(data)).toBe(true);
    await here.write(GRANULE, data.subarray(512, 1024));
    expect((await there.read(GRANULE, 512)).equals(data.subarray(512, 1024))).toBe(true);
    await there.write(0, Buffer.alloc(GRANULE, 2), { fua: true });
    await there.zero(0, 512);
    await there.trim(GRANULE, GRANULE);
    await there.cache(0, DISK);
    await there.flush();
    expect(
      readFileSync(server.image)
        .subarray(512, GRANULE)
        .equals(Buffer.alloc(GRANULE - 512, 2)),
    ).toBe(true);
    expect(server.served.getBitmap('nightly').dirtyBytes).toBe(MIB + GRANULE);
    await there.disconnect();
    await expect.poll(() => server.clientCounts).toEqual([1, 0]);
    expect(server.sharesInUse).toBe(0);
    expect(server.complaints).toEqual([]);
  });

  test('write at random without a lost write or mark', async () => {
    const { server, clients } = await serverWithClients(3);
    vi.spyOn(server.served, 'share').mockReturnValueOnce(undefined);
    clients.push(await server.connect());
    await writeAtRandom(server, clients, { writesEach: 100, granularityBytes: GRANULE });
  });

  test('can be disconnected, and are served to the end when the export is closed', async () => {
    const { server, clients } = await serverWithClients(3);
    const { id } = server.served.clients()[1]!;
    expect(await server.served.disconnect(id)).toBe(true);
    await expect(clients[1]!.read(0, 512)).rejects.toThrow();
    const [, , there] = clients as [NbdClient, NbdClient, NbdClient];
    const writes = Array.from({ length: 40 }, (_, i) => there.write(i * GRANULE, Buffer.alloc(GRANULE, i + 1)));
    const ends = Promise.allSettled(writes);
    await writes[0];
    await server.exports.remove('disk');
    const done = (await ends).filter(({ status }) => status === 'fulfilled').length;
    const content = readFileSync(server.image);
    for (let i = 0; i < done; i++) expect(content[i * GRANULE]).toBe(i + 1);
    expect(server.complaints).toEqual([]);
  });
});

describe('a handshake in another thread', () => {
  async function haggling(options = {}) {
    const { server } = await serverWithClients(1, options);
    const client = await asking(server);
    await client.secure(testKey);
    return { server, client };
  }

  test('answers as one in the main thread does', async () => {
    const { client } = await haggling();
    client.option(Option.SET_META_CONTEXT, metaData('disk', ['base:allocation']));
    expect((await client.reply()).type).toBe(OptionError.INVALID);
    client.option(Option.GO, infoData('nowhere'));
    expect((await client.reply()).type).toBe(OptionError.UNKNOWN);
    client.option(77, randomBytes(2 * MIB));
    expect((await client.reply()).type).toBe(OptionError.UNSUP);
    client.option(Option.LIST_META_CONTEXT, metaData('disk', []));
    expect(await client.replies()).toHaveLength(4);
    // Of the longest data that is looked at.
    client.option(
      Option.INFO,
      infoData(
        'disk',
        Array.from({ length: 32_000 }, () => 3),
      ),
    );
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
    client.option(Option.ABORT);
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
    expect(await client.rest()).toHaveLength(0);
  });

  test.each([1, 2])('sends a long list to a client that reads slowly, with %i threads', async (threads) => {
    const { server, client } = await haggling({ disks: 300, threads });
    client.pause();
    for (let i = 0; i < 20; i++) client.option(Option.LIST);
    client.option(Option.GO, infoData('disk'));
    client.resume();
    for (let i = 0; i < 20; i++) expect(await client.replies()).toHaveLength(301);
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
    expect(server.clientCounts).toEqual(threads === 1 ? [2] : [1, 1]);
  });

  const first = Buffer.alloc(20 * KIB, 1);
  const second = Buffer.alloc(300 * KIB, 2);
  const requests = Buffer.concat([
    encodeRequest({ command: Command.WRITE, cookie: 1n, payload: first }),
    encodeRequest({ command: Command.WRITE, cookie: 2n, offset: first.length, payload: second }),
  ]);

  test.each([0, 1, 28, 29, 5000, 20 * KIB + 28, 200 * KIB])(
    'keeps what the client sends behind it: %d bytes of its requests',
    async (together) => {
      const { server, client } = await haggling();
      client.send(Buffer.concat([encodeOption(Option.GO, infoData('disk')), requests.subarray(0, together)]));
      for (let at = together; at < requests.length; at += 50 * KIB) {
        await client.sent(requests.subarray(at, at + 50 * KIB));
      }
      await client.replies();
      expect((await client.simpleReply()).error).toBe(0);
      expect((await client.simpleReply()).error).toBe(0);
      const content = readFileSync(server.image);
      expect(content.subarray(0, first.length).equals(first)).toBe(true);
      expect(content.subarray(first.length, first.length + second.length).equals(second)).toBe(true);
    },
  );

  test('is understood byte by byte', async () => {
    const { client } = await haggling();
    for (const byte of encodeOption(Option.GO, infoData('disk'))) await client.sent(Buffer.from([byte]));
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
    client.request({ command: Command.READ, length: 4 });
    expect((await client.simpleReply(4)).error).toBe(0);
  });

  test('that fails, or that the client leaves, is over', async () => {
    const { server } = await serverWithClients(1);
    const talker = await asking(server);
    talker.send(Buffer.from('this is not TLS, not even from afar'));
    await talker.rest();
    const why = 'refused a TLS handshake: the client did not speak TLS';
    await expect.poll(() => server.complaints.map(({ message }) => message)).toEqual([why]);
    const leaver = await asking(server);
    leaver.close();
    const quiet = await asking(server);
    await quiet.secure(testKey);
    quiet.close();
    await expect.poll(() => server.threadClients).toBe(0);
    expect(server.clientCounts[0]).toBe(1);
  });

  test.each(['before TLS', 'after TLS'])('has to be over in time, %s', async (when) => {
    const { server } = await serverWithClients(1, { handshakeTimeoutSeconds: 3 });
    const client = await asking(server);
    if (when === 'after TLS') await client.secure(testKey);
    expect(await client.rest()).toHaveLength(0);
    await expect.poll(() => server.threadClients).toBe(0);
  });

  test.each(['before TLS', 'after TLS'])('does not outlive its thread, %s', async (when) => {
    const { server, here } = await serverWithClients(1);
    const client = await asking(server);
    if (when === 'after TLS') await client.secure(testKey);
    await server.kill(0);
    await client.rest();
    await here.read(0, 512);
    await expect.poll(() => server.threadClients).toBe(0);
  });

  test('does not keep the server from stopping', async () => {
    const { server } = await serverWithClients(1);
    const [silent, talking] = [await asking(server), await asking(server)];
    await talking.secure(testKey);
    const stopped = server.drain();
    talking.option(Option.GO, infoData('disk'));
    expect((await talking.reply()).type).toBe(OptionError.SHUTDOWN);
    await stopped;
    await silent.rest();
  });
});

test('a thread that dies takes its clients with it, and holds up no cut', async () => {
  const { server, clients } = await serverWithClients(3);
  for (const client of clients) await client.write(0, Buffer.alloc(GRANULE, 1));
  await server.kill(0);
  await expect(clients[1]!.read(0, 512)).rejects.toThrow();
  await expect.poll(() => server.clientCounts).toEqual([1, 0, 1]);
  await clients[2]!.write(0, Buffer.alloc(GRANULE, 2));
  await changeAtOneInstant([server.served], { apply: () => undefined });
  const next = await server.connect();
  expect(server.clientCounts).toEqual([1, 1, 1]);
  expect((await next.read(0, 512))[0]).toBe(2);
});
