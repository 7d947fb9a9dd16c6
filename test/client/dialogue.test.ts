import { describe, expect, test } from 'vitest';
import { type Dialogue, DialogueRunner } from '../../src/client/dialogue.js';
import { greet } from '../../src/client/option-exchange.js';
import { ReadRequest } from '../../src/client/read-request.js';
import { takeReplies } from '../../src/client/reply-dialogue.js';
import { RequestTable } from '../../src/client/request-table.js';
import { openExport } from '../../src/client/select-export.js';
import { StatusRequest } from '../../src/client/status-request.js';
import { u16, u32 } from '../support/raw-client.js';
import {
  chunk,
  DONE,
  dataChunk,
  holeChunk,
  infoExport,
  optionReply,
  simpleReply,
  statusChunk,
} from '../support/scripted-server.js';

/** Puts bytes where the runner wants them, like a socket. */
function feed(runner: DialogueRunner, data: Buffer): void {
  for (let at = 0; at < data.length; ) {
    const room = runner.room();
    const count = data.copy(room, 0, at);
    expect(count).toBeGreaterThan(0);
    runner.received(count);
    at += count;
  }
}

function feedSplit(runner: DialogueRunner, data: Buffer, splitAt: number): void {
  feed(runner, data.subarray(0, splitAt));
  feed(runner, data.subarray(splitAt));
}

const readInto = (offset: number, target: Buffer) => new ReadRequest(offset, target.length, () => target);

const splitPoints = (data: Buffer) => Array.from({ length: data.length + 1 }, (_, index) => index);

function* handshake() {
  const greeting = yield* greet(() => {});
  return yield* openExport(() => {}, greeting, 'disk', ['base:allocation']);
}

test('a handshake has the same outcome wherever its bytes are split', async () => {
  const context = Buffer.concat([u32(3), Buffer.from('base:allocation')]);
  const conversation = Buffer.concat([
    Buffer.from('NBDMAGICIHAVEOPT'),
    u16(3),
    optionReply(11, 2 ** 31 + 1),
    optionReply(8, 1),
    optionReply(10, 4, context),
    optionReply(10, 1),
    optionReply(7, 3, infoExport(2 ** 40, 0x58f)),
    optionReply(7, 3, Buffer.concat([u16(3), u32(512), u32(65536), u32(2 ** 26)])),
    optionReply(7, 1),
  ]);
  for (const splitAt of splitPoints(conversation)) {
    const runner = new DialogueRunner();
    const opened = runner.run(handshake());
    feedSplit(runner, conversation, splitAt);
    expect(await opened).toEqual({
      sizeBytes: 2 ** 40,
      flags: 0x58f,
      blockSizes: { minimum: 512, preferred: 65536, maximum: 2 ** 25 },
      replies: 'structured',
      contexts: new Map([[3, 'base:allocation']]),
    });
  }
});

describe('replies have the same outcome wherever their bytes are split:', () => {
  test('structured replies out of order', async () => {
    const replies = Buffer.concat([
      statusChunk(2n, 0, 1, [
        [4096, 0],
        [8192, 3],
      ]),
      dataChunk(1n, 0, 100, Buffer.alloc(50, 7)),
      chunk(2n, DONE, 0),
      holeChunk(1n, DONE, 0, 100),
    ]);
    for (const splitAt of splitPoints(replies)) {
      const runner = new DialogueRunner();
      const table = new RequestTable(() => {});
      const read = readInto(0, Buffer.alloc(150, 1));
      const range = { offset: 0, length: 12288, requestOne: false, sizeBytes: 65536 };
      const status = new StatusRequest(range, new Map([[1, 'base:allocation']]));
      table.add(read);
      table.add(status);
      void runner.run(takeReplies(table, 'structured'));
      feedSplit(runner, replies, splitAt);
      expect(await read.settled).toEqual(Buffer.concat([Buffer.alloc(100), Buffer.alloc(50, 7)]));
      expect((await status.settled).get('base:allocation')).toMatchObject({ lengths: [4096, 8192], statuses: [0, 3] });
    }
  });

  test('simple replies', async () => {
    const replies = Buffer.concat([simpleReply(2n, 5), simpleReply(1n, 0, Buffer.alloc(40, 9))]);
    for (const splitAt of splitPoints(replies)) {
      const runner = new DialogueRunner();
      const table = new RequestTable(() => {});
      const [good, bad] = [readInto(0, Buffer.alloc(40)), readInto(40, Buffer.alloc(40))];
      table.add(good);
      table.add(bad);
      const refused = expect(bad.settled).rejects.toMatchObject({ code: 'EIO' });
      void runner.run(takeReplies(table, 'simple'));
      feedSplit(runner, replies, splitAt);
      expect(await good.settled).toEqual(Buffer.alloc(40, 9));
      await refused;
    }
  });
});

describe('a dialogue runner', () => {
  test('lets the socket read straight into a large wanted buffer', () => {
    const target = Buffer.alloc(100_000);
    const runner = new DialogueRunner();
    void runner.run(
      (function* (): Dialogue<void> {
        yield 4;
        yield target;
      })(),
    );
    feed(runner, Buffer.from([1, 2, 3, 4, 5]));
    const room = runner.room();
    expect(room.buffer).toBe(target.buffer);
    expect(room.byteOffset).toBe(target.byteOffset + 1);
    expect(room.length).toBe(target.length - 1);
  });

  test('reads into its own buffer if the wanted buffer is small', async () => {
    const target = Buffer.alloc(3);
    const runner = new DialogueRunner();
    const result = runner.run(
      (function* (): Dialogue<string> {
        yield target;
        return target.toString() + (yield 3).toString();
      })(),
    );
    feed(runner, Buffer.from('abcdef'));
    expect(await result).toBe('abcdef');
  });

  test('keeps the bytes that one dialogue leaves for the next', async () => {
    const runner = new DialogueRunner();
    const take = function* (): Dialogue<string> {
      return (yield 3).toString();
    };
    const first = runner.run(take());
    feed(runner, Buffer.from('abcdef'));
    expect(await first).toBe('abc');
    expect(await runner.run(take())).toBe('def');
  });

  test('rejects with what the dialogue throws', async () => {
    const runner = new DialogueRunner();
    const result = runner.run(
      // biome-ignore lint/correctness/useYield: it throws before it wants anything
      (function* (): Dialogue<void> {
        throw new Error('no');
      })(),
    );
    await expect(result).rejects.toThrow('no');
    expect(runner.running).toBe(false);
  });
});
