import { describe, expect, onTestFinished, test } from 'vitest';
import { BlockingReader } from '../../src/client/blocking-reader.js';
import type { DetachedConnection } from '../../src/client/detached-connection.js';
import { NbdConnectionError, NbdProtocolError, NbdRemoteError } from '../../src/client/errors.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { ReadRequest } from '../../src/client/read-request.js';
import { loadPosix } from '../../src/posix/posix.js';
import { u16, u32 } from '../support/raw-client.js';
import {
  chunk,
  DONE,
  dataChunk,
  holeChunk,
  type ReceivedRequest,
  type ScriptedPeer,
  simpleReply,
  startScriptedServer,
} from '../support/scripted-server.js';

const posix = loadPosix()!;
const bytes = (value: number, length = 4) => Buffer.alloc(length, value);

/** A detached connection to a server that does this next. */
async function detached(
  after: (peer: ScriptedPeer) => Promise<void>,
  { structured = true, timeoutSeconds = 60 } = {},
): Promise<DetachedConnection> {
  const target = await startScriptedServer(async (peer) => {
    await peer.open({ structured });
    await after(peer);
  });
  const client = await NbdClient.connect(target, { timeoutSeconds });
  const connection = (await client.detach(posix))!;
  onTestFinished(() => connection[Symbol.dispose]());
  return connection;
}

/**
 * The server runs in this thread too, so the reader must not wait for it. It sends first: a connection counts its
 * requests from 1, so the cookies are known.
 */
async function readerAfter(messages: readonly Buffer[], options: { structured?: boolean } = {}) {
  const sent = new Promise<{ connection: DetachedConnection }>((resolve) => {
    const ready = detached(async (peer) => {
      const connection = await ready;
      peer.send(...messages);
      resolve({ connection });
      await peer.read(28);
    }, options);
  });
  const { connection } = await sent;
  return new BlockingReader(connection.facts, () => false);
}

/** Sends reads of 8 bytes each, and receives everything. */
function readAll(reader: BlockingReader, count: number) {
  const targets: Buffer[] = Array.from({ length: count }, () => Buffer.alloc(8, 0xff));
  const reads = targets.map((target, i) => new ReadRequest(8 * i, 8, () => target));
  const settled = Promise.allSettled(reads.map((read) => read.settled));
  reader.send(reads);
  return { targets, settled, receive: () => reader.receive(0) };
}

test('structured replies, holes and pieces in any order', async () => {
  const reader = await readerAfter([
    dataChunk(2n, DONE, 8, bytes(2, 8)),
    dataChunk(1n, 0, 4, bytes(1)),
    holeChunk(1n, 0, 0, 4),
    chunk(1n, DONE, 0),
  ]);
  const { targets, settled, receive } = readAll(reader, 2);
  receive();
  expect(targets).toEqual([Buffer.concat([bytes(0), bytes(1)]), bytes(2, 8)]);
  expect((await settled).map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled']);
});

test('simple replies', async () => {
  const messages = [simpleReply(1n), bytes(1, 8), simpleReply(2n), bytes(2, 8)];
  const { targets, receive } = readAll(await readerAfter(messages, { structured: false }), 2);
  receive();
  expect(targets).toEqual([bytes(1, 8), bytes(2, 8)]);
});

test('an error of the server fails its read only', async () => {
  const reader = await readerAfter([
    chunk(1n, DONE, 2 ** 15 + 1, Buffer.concat([u32(5), u16(0)])),
    dataChunk(2n, DONE, 8, bytes(2, 8)),
  ]);
  const { targets, settled, receive } = readAll(reader, 2);
  receive();
  const [first, second] = await settled;
  expect(first).toMatchObject({ status: 'rejected', reason: expect.any(NbdRemoteError) });
  expect(second).toMatchObject({ status: 'fulfilled' });
  expect(targets[1]).toEqual(bytes(2, 8));
});

describe('the connection fails for good', () => {
  const expectFailure = async (
    reader: BlockingReader,
    type: typeof NbdConnectionError | typeof NbdProtocolError,
    reason: RegExp,
  ) => {
    const { receive, settled } = readAll(reader, 1);
    expect(receive).toThrow(reason);
    expect(receive).toThrow(type);
    expect(() => reader.send([])).toThrow(reason);
    expect(await settled).toMatchObject([{ status: 'rejected', reason: expect.any(type) }]);
  };

  test('when the server answers what was not asked', async () => {
    await expectFailure(await readerAfter([dataChunk(7n, DONE, 0, bytes(1, 8))]), NbdProtocolError, /was not made/);
  });

  test('when a reply is incomplete', async () => {
    await expectFailure(await readerAfter([dataChunk(1n, DONE, 0, bytes(1, 7))]), NbdProtocolError, /too little data/);
  });

  test('when the server closes it', async () => {
    const closed = new Promise<DetachedConnection>((resolve) => {
      const ready = detached(async (peer) => {
        const connection = await ready;
        await peer.close();
        resolve(connection);
      });
    });
    const { facts } = await closed;
    await expectFailure(new BlockingReader(facts, () => false), NbdConnectionError, /closed the connection|EPIPE/);
  });

  test('when the server is silent', async () => {
    const { facts } = await detached((peer) => peer.read(1000).then(() => {}), { timeoutSeconds: 0.3 });
    await expectFailure(new BlockingReader(facts, () => false), NbdConnectionError, /was silent for 0.3 s/);
  });

  test('when it is no longer wanted', async () => {
    const { facts } = await detached((peer) => peer.read(1000).then(() => {}));
    let questions = 0;
    // The first question comes before the request is sent, the others while no answer comes.
    await expectFailure(new BlockingReader(facts, () => ++questions > 3), NbdConnectionError, /was given up/);
  });
});

test('a client that was detached can no longer be used, and the connection lives until it is disposed of', async () => {
  const disconnects: ReceivedRequest[] = [];
  let report = () => {};
  const gone = new Promise<void>((resolve) => {
    report = resolve;
  });
  const target = await startScriptedServer(async (peer) => {
    await peer.open();
    disconnects.push(await peer.request());
    await peer.read(1).catch(report);
  });
  const client = await NbdClient.connect(target);
  const connection = (await client.detach(posix))!;
  await expect(client.read(0, 512)).rejects.toThrow(/handed over/);
  connection[Symbol.dispose]();
  await gone;
  expect(disconnects).toMatchObject([{ command: 2 }]);
});

test('a client whose machine cannot detach it works as before', async () => {
  const target = await startScriptedServer(async (peer) => {
    await peer.open();
    const { cookie } = await peer.request();
    peer.send(dataChunk(cookie, DONE, 0, bytes(3, 8)));
    await peer.request();
  });
  const client = await NbdClient.connect(target);
  expect(await client.detach({ ...posix, duplicateWaitingNow: () => -95 })).toBeUndefined();
  expect(await client.read(0, 8)).toEqual(bytes(3, 8));
});
