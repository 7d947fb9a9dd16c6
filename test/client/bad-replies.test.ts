import { describe, expect, test } from 'vitest';
import { NbdConnectionError, NbdProtocolError, NbdRemoteError } from '../../src/client/errors.js';
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

const NONE = 0;
const OFFSET_DATA = 1;
const OFFSET_HOLE = 2;
const BLOCK_STATUS = 5;
const ERROR = 2 ** 15 + 1;
const EIO = 5;

type Answer = (server: ScriptedPeer, request: ReceivedRequest) => void | Promise<void>;

/** A client of a server that behaves well up to the first request, and then sends a given answer. */
async function connectTo(answer: Answer, served: ScriptedExport = {}, timeoutSeconds = 60): Promise<NbdClient> {
  const target = await startScriptedServer(async (server) => {
    await server.open(served);
    await answer(server, await server.request());
    await server.request();
  });
  return NbdClient.connect(target, { contexts: Object.keys(served.contexts ?? {}), timeoutSeconds });
}

const answerWith =
  (...parts: ((cookie: bigint) => Buffer)[]): Answer =>
  (server, { cookie }) =>
    server.send(...parts.map((part) => part(cookie)));

/** Expects that the request fails because of the violation, and that the client then refuses to send more. */
async function expectViolation(client: NbdClient, request: Promise<unknown>, reason: RegExp): Promise<void> {
  await expect(request).rejects.toThrow(reason);
  await expect(request).rejects.toThrow(NbdProtocolError);
  await expect(client.read(0, 512)).rejects.toThrow(reason);
}

const bytes = (length: number) => Buffer.alloc(length, 1);

describe('a read ends the connection when the server', () => {
  const refused = async (reason: RegExp, ...parts: ((cookie: bigint) => Buffer)[]) => {
    const client = await connectTo(answerWith(...parts));
    await expectViolation(client, client.read(4096, 4096), reason);
  };

  test('answers a cookie that was never sent', () =>
    refused(/was not made/, (cookie) => chunk(cookie + 1n, DONE, NONE)));

  test('answers a cookie that agrees with a sent one only in its low bits', () =>
    refused(/was not made/, (cookie) => chunk(cookie + 2n ** 63n, DONE, NONE)));

  test('answers twice', async () => {
    const client = await connectTo(
      answerWith(
        (cookie) => dataChunk(cookie, DONE, 4096, bytes(4096)),
        (cookie) => chunk(cookie, DONE, NONE),
      ),
    );
    await client.read(4096, 4096);
    await expect(client.read(0, 512)).rejects.toThrow(/was not made/);
  });

  test('sends something that is not a reply', () =>
    refused(/0x1020304 where a reply begins/, () => Buffer.from([1, 2, 3, 4, ...bytes(16)])));

  test('uses a simple reply although structured replies were agreed on', () =>
    refused(/simple reply/, (cookie) => simpleReply(cookie, 0, bytes(4096))));

  test('ends the reply before all data has arrived', () =>
    refused(
      /too little data/,
      (cookie) => dataChunk(cookie, 0, 4096, bytes(512)),
      (cookie) => chunk(cookie, DONE, NONE),
    ));

  test('leaves a gap', () =>
    refused(
      /too little data/,
      (cookie) => dataChunk(cookie, 0, 4096, bytes(1024)),
      (cookie) => dataChunk(cookie, DONE, 6144, bytes(2048)),
    ));

  test('sends overlapping data', () =>
    refused(
      /overlaps/,
      (cookie) => dataChunk(cookie, 0, 4096, bytes(1024)),
      (cookie) => dataChunk(cookie, DONE, 5119, bytes(3073)),
    ));

  test('sends a hole over data', () =>
    refused(
      /overlaps/,
      (cookie) => dataChunk(cookie, 0, 6144, bytes(2048)),
      (cookie) => holeChunk(cookie, DONE, 4096, 4096),
    ));

  test('sends data from before the range', () =>
    refused(/4096 bytes at 3584/, (cookie) => dataChunk(cookie, DONE, 3584, bytes(4096))));

  test('sends data from after the range', () =>
    refused(/512 bytes at 8192/, (cookie) => dataChunk(cookie, DONE, 8192, bytes(512))));

  test('sends more data than was asked for', () =>
    refused(/4097 bytes at 4096/, (cookie) => dataChunk(cookie, DONE, 4096, bytes(4097))));

  test('announces data of unbounded length', () =>
    refused(/4294967287 bytes at 4096/, (cookie) => chunk(cookie, DONE, OFFSET_DATA, u64(4096), 2 ** 32 - 1)));

  test('sends a hole beyond the range', () =>
    refused(/4294967295 bytes at 4096/, (cookie) => holeChunk(cookie, DONE, 4096, 2 ** 32 - 1)));

  test('sends a hole at an offset above 2^53', () =>
    refused(/sent 512 bytes at/, (cookie) =>
      chunk(cookie, DONE, OFFSET_HOLE, Buffer.concat([u64(2n ** 64n - 512n), u32(512)])),
    ));

  test('sends a hole of length 0', () => refused(/sent 0 bytes/, (cookie) => holeChunk(cookie, 0, 4096, 0)));

  test('sends a data chunk without data', () =>
    refused(/type 1 and 8 bytes/, (cookie) => chunk(cookie, 0, OFFSET_DATA, u64(4096))));

  test('sends a hole chunk of the wrong length', () =>
    refused(/type 2 and 16 bytes/, (cookie) => chunk(cookie, 0, OFFSET_HOLE, bytes(16))));

  test('reports error after error', () =>
    refused(/reported error after error/, (cookie) =>
      Buffer.concat(Array.from({ length: 2000 }, () => chunk(cookie, 0, ERROR, Buffer.concat([u32(EIO), u16(0)])))),
    ));

  test('sends a NONE chunk that is not the last', () =>
    refused(/type 0 and 0 bytes/, (cookie) => chunk(cookie, 0, NONE)));

  test('sends a NONE chunk with content', () =>
    refused(/type 0 and 4 bytes/, (cookie) => chunk(cookie, DONE, NONE, u32(0))));

  test('sends a chunk of an unknown type', () =>
    refused(/type 77 and 4 bytes/, (cookie) => chunk(cookie, DONE, 77, u32(0))));

  test('sends block status instead of data', () =>
    refused(/type 5 and 12 bytes/, (cookie) => statusChunk(cookie, DONE, 1, [[4096, 0]])));

  test('scatters its data over too many places', async () => {
    const client = await connectTo((server, { cookie }) => {
      for (let at = 0; at < 4096; at += 2) server.send(holeChunk(cookie, 0, at, 1));
    });
    await expectViolation(client, client.read(0, 4096), /too scattered/);
  });

  test('reports error number 0', () =>
    refused(/without an error/, (cookie) => chunk(cookie, DONE, ERROR, Buffer.concat([u32(0), u16(0)]))));

  test('sends an error chunk that is too short', () =>
    refused(/type 32769 and 4 bytes/, (cookie) => chunk(cookie, DONE, ERROR, u32(EIO))));

  test('sends an error message longer than its chunk', () =>
    refused(/type 32769 and 6 bytes/, (cookie) => chunk(cookie, DONE, ERROR, Buffer.concat([u32(EIO), u16(1)]))));

  test('announces an error message of unbounded length', () =>
    refused(/type 32769 and 4294967295 bytes/, (cookie) => chunk(cookie, DONE, ERROR, u32(EIO), 2 ** 32 - 1)));
});

describe('without structured replies a read ends the connection when the server', () => {
  test('sends a structured reply', async () => {
    const client = await connectTo(
      answerWith((cookie) => dataChunk(cookie, DONE, 0, bytes(512))),
      { structured: false },
    );
    await expectViolation(client, client.read(0, 512), /0x668e33ef where a reply begins/);
  });

  test('closes the connection in the middle of the data', async () => {
    const client = await connectTo(
      (server, { cookie }) => {
        server.send(simpleReply(cookie, 0, bytes(100)));
        server.close();
      },
      { structured: false },
    );
    const reading = client.read(0, 512);
    await expect(reading).rejects.toThrow(NbdConnectionError);
    await expect(reading).rejects.toThrow(/closed the connection/);
  });
});

describe('a write', () => {
  test('ends the connection when the server answers with data', async () => {
    const client = await connectTo(answerWith((cookie) => dataChunk(cookie, DONE, 0, bytes(512))));
    await expectViolation(client, client.write(0, bytes(512)), /type 1 and 520 bytes/);
  });

  test('may be answered with a simple reply', async () => {
    const client = await connectTo(answerWith((cookie) => simpleReply(cookie)));
    await client.write(0, bytes(512));
  });

  test('may fail with a simple reply', async () => {
    const client = await connectTo(answerWith((cookie) => simpleReply(cookie, 28)));
    await expect(client.write(0, bytes(512))).rejects.toMatchObject({ errno: 28, code: 'ENOSPC' });
  });
});

describe('a block status request ends the connection when the server', () => {
  const contexts = { 'base:allocation': 7, 'qemu:dirty-bitmap:nightly': 8 };
  const refused = async (reason: RegExp, ...parts: ((cookie: bigint) => Buffer)[]) => {
    const client = await connectTo(answerWith(...parts), { contexts });
    await expectViolation(client, client.blockStatus(0, 8192), reason);
  };

  test('reports on a context that was not selected', () =>
    refused(/unknown context 9/, (cookie) => statusChunk(cookie, 0, 9, [[8192, 0]])));

  test('reports twice on a context', () =>
    refused(
      /twice on "base:allocation"/,
      (cookie) => statusChunk(cookie, 0, 7, [[8192, 0]]),
      (cookie) => statusChunk(cookie, 0, 7, [[8192, 0]]),
    ));

  test('leaves a context out', () => refused(/every context/, (cookie) => statusChunk(cookie, DONE, 7, [[8192, 0]])));

  test('sends an extent of length 0', () =>
    refused(/extent of length 0/, (cookie) => statusChunk(cookie, 0, 7, [[0, 0]])));

  test('reports more than the range', () =>
    refused(/beyond the range/, (cookie) =>
      statusChunk(cookie, 0, 7, [
        [8192, 0],
        [512, 1],
      ]),
    ));

  test('sends no extent', () => refused(/type 5 and 4 bytes/, (cookie) => statusChunk(cookie, 0, 7, [])));

  test('sends half an extent', () =>
    refused(/type 5 and 8 bytes/, (cookie) => chunk(cookie, 0, BLOCK_STATUS, Buffer.concat([u32(7), u32(512)]))));

  test('announces too many extents', () =>
    refused(/type 5 and 4294967292 bytes/, (cookie) => chunk(cookie, 0, BLOCK_STATUS, u32(7), 2 ** 32 - 4)));

  test('uses a simple reply for success', () => refused(/every context/, (cookie) => simpleReply(cookie)));

  test('sends two extents where one was asked for', async () => {
    const client = await connectTo(
      answerWith((cookie) =>
        statusChunk(cookie, 0, 7, [
          [512, 0],
          [512, 1],
        ]),
      ),
      { contexts },
    );
    await expectViolation(client, client.blockStatus(0, 8192, { reqOne: true }), /more than the one extent/);
  });

  test('sends one extent beyond the range where one was asked for', async () => {
    const client = await connectTo(
      answerWith((cookie) => statusChunk(cookie, 0, 7, [[16384, 0]])),
      { contexts },
    );
    await expectViolation(client, client.blockStatus(0, 8192, { reqOne: true }), /extent beyond the range/);
  });
});

describe('the connection ends for every request in flight when the server', () => {
  test('closes the connection between replies', async () => {
    const client = await connectTo(async (server, { cookie }) => {
      await server.request();
      server.send(dataChunk(cookie, DONE, 0, bytes(512)));
      server.close();
    });
    const [first, second] = await Promise.allSettled([client.read(0, 512), client.read(512, 512)]);
    expect(first.status).toBe('fulfilled');
    expect(second).toMatchObject({ reason: expect.any(NbdConnectionError) });
  });

  test('is silent while an answer is due', async () => {
    const client = await connectTo(() => {}, {}, 0.1);
    await expect(client.read(0, 512)).rejects.toThrow(/silent for 0.1 s/);
  });

  test('sends something without being asked', async () => {
    const target = await startScriptedServer(async (server) => {
      await server.open();
      server.send(chunk(1n, DONE, NONE));
      await server.request();
    });
    const client = await NbdClient.connect(target);
    await expect(client.read(0, 512).then(() => client.read(0, 512))).rejects.toThrow(NbdProtocolError);
  });
});

test('an error chunk of an unknown type fails the request, and the connection stays open', async () => {
  const unknownError = Buffer.concat([u32(EIO), u16(3), Buffer.from('bad'), bytes(20)]);
  const client = await connectTo(async (server, { cookie }) => {
    server.send(chunk(cookie, DONE, 2 ** 15 + 99, unknownError));
    const next = await server.request();
    server.send(dataChunk(next.cookie, DONE, 0, bytes(512)));
  });
  await expect(client.read(0, 512)).rejects.toThrow('the server failed to read 512 bytes at 0: EIO, bad');
  expect(await client.read(0, 512)).toEqual(bytes(512));
});

test('an error number that the protocol does not know counts as EINVAL', async () => {
  const client = await connectTo(
    answerWith((cookie) => chunk(cookie, DONE, ERROR, Buffer.concat([u32(4711), u16(0)]))),
  );
  const reading = client.read(0, 512);
  await expect(reading).rejects.toThrow(NbdRemoteError);
  await expect(reading).rejects.toMatchObject({ errno: 4711, code: 'EINVAL' });
});
