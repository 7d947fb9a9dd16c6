import { truncateSync } from 'node:fs';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { EIO } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { PiecePool } from '../../src/session/piece-pool.js';
import { ReplyWriter } from '../../src/session/reply-writer.js';
import { expectSame, put } from '../support/device-content.js';
import { startMemoryServer } from '../support/memory-server.js';
import type { RawClient } from '../support/raw-client.js';
import { native, openScratch } from '../support/scratch-device.js';

const { Command, NbdError, ReplyChunk } = nbd;
const DISK_BYTES = 4 * MIB;
const LENGTH = 256 * KIB;

/** Each sector differs from the others. */
const content = (() => {
  const bytes = Buffer.alloc(DISK_BYTES);
  for (let at = 0; at < DISK_BYTES; at += 8) bytes.writeDoubleLE(at + 1, at);
  return bytes;
})();

/** A server of a file in memory, whose splice(2) may be replaced. */
async function served(spliceNow: typeof native.spliceNow = native.spliceNow) {
  let lent = 0;
  const posix: typeof native = {
    ...native,
    spliceNow: (...call) => {
      const count = spliceNow(...call);
      if (count === call[3]) lent++;
      return count;
    },
  };
  const { device, path, lines } = await openScratch({ place: 'tmpfs', content, posix });
  const server = await startMemoryServer([{ name: 'disk', device }]);
  const connect = async (structured = true) => {
    const client = await server.connect();
    await client.go('disk', { structured });
    return client;
  };
  return { device, path, lines, connect, lentCount: () => lent };
}

/** The data of the next structured reply. */
async function dataOf(client: RawClient, offset: number): Promise<Buffer> {
  const [chunk] = await client.chunks();
  expect(chunk!.type).toBe(ReplyChunk.OFFSET_DATA);
  expect(chunk!.payload.readBigUInt64BE(0)).toBe(BigInt(offset));
  return chunk!.payload.subarray(8);
}

test.each([true, false])(
  'replies with lent pages and copied ones keep their order (structured: %s)',
  async (structured) => {
    const { connect, lentCount } = await served();
    const client = await connect(structured);
    const reads = [
      { offset: 0, length: LENGTH },
      { offset: 4096, length: 512 },
      { offset: 123_457, length: LENGTH + 1 },
      { offset: 77, length: MIB - 77 },
      { offset: 0, length: MIB },
      { offset: 1, length: MIB },
      { offset: DISK_BYTES - LENGTH, length: LENGTH },
    ];
    for (const { offset, length } of reads) {
      client.request({ command: Command.READ, offset, length });
      client.request({ command: Command.READ, offset: 8, length: 8 });
      for (const one of [
        { offset, length },
        { offset: 8, length: 8 },
      ]) {
        const data = structured ? await dataOf(client, one.offset) : (await client.simpleReply(one.length)).data;
        expectSame(data, content.subarray(one.offset, one.offset + one.length));
      }
    }
    // One is too short, and the pages of another do not fit into the pipe.
    expect(lentCount()).toBe(reads.length - 2);
  },
);

test('a client that reads slowly gets all data, in order', async () => {
  const { connect } = await served();
  const client = await connect();
  client.pause();
  const offsets = Array.from({ length: 64 }, (_, index) => (index * 57_347) % (DISK_BYTES - LENGTH));
  for (const offset of offsets) client.request({ command: Command.READ, offset, length: LENGTH });
  // Another client sees that the server has served what it can.
  const other = await connect();
  other.request({ command: Command.READ, offset: 0, length: LENGTH });
  await dataOf(other, 0);
  client.resume();
  for (const offset of offsets) expectSame(await dataOf(client, offset), content.subarray(offset, offset + LENGTH));
});

test('a write may show in a reply that the client has not received yet', async () => {
  const { connect, device } = await served();
  const client = await connect();
  client.pause();
  client.request({ command: Command.READ, offset: 0, length: LENGTH });
  const other = await connect();
  other.request({ command: Command.READ, offset: 0, length: LENGTH });
  await dataOf(other, 0);
  await put(device, 0, Buffer.alloc(LENGTH, 0x77));
  client.resume();
  const data = await dataOf(client, 0);
  const isOldOrNew = (byte: number, at: number) => byte === content[at] || byte === 0x77;
  expect(data.every(isOldOrNew)).toBe(true);
  client.request({ command: Command.READ, offset: 0, length: LENGTH });
  expectSame(await dataOf(client, 0), Buffer.alloc(LENGTH, 0x77));
});

test('a client that goes away with lent pages on their way does not affect others', async () => {
  const { connect } = await served();
  const client = await connect();
  client.pause();
  for (let i = 0; i < 32; i++) client.request({ command: Command.READ, offset: 0, length: MIB });
  const other = await connect();
  other.request({ command: Command.READ, offset: MIB, length: LENGTH });
  expectSame(await dataOf(other, MIB), content.subarray(MIB, MIB + LENGTH));
  client.close();
  other.request({ command: Command.READ, offset: 2 * MIB, length: LENGTH });
  expectSame(await dataOf(other, 2 * MIB), content.subarray(2 * MIB, 2 * MIB + LENGTH));
});

test('pages that cannot be lent, or only some, are copied', async () => {
  const { connect } = await served((fromFd, offset, toFd, length) => {
    if (offset === 0) return -EIO;
    return native.spliceNow(fromFd, offset, toFd, offset === MIB ? length - 5000 : length);
  });
  const client = await connect();
  for (const offset of [0, MIB, 2 * MIB]) {
    client.request({ command: Command.READ, offset, length: LENGTH });
    expectSame(await dataOf(client, offset), content.subarray(offset, offset + LENGTH));
  }
});

test('a read beyond the end of a truncated image fails with EIO before any data is sent', async () => {
  const { connect, path, lines } = await served();
  truncateSync(path, MIB + 100_000);
  const client = await connect();
  client.request({ command: Command.READ, offset: MIB, length: LENGTH });
  expect(await client.structuredError()).toBe(NbdError.EIO);
  expect(lines.map(({ message }) => message)).toEqual([expect.stringContaining('shorter than its disk')]);
  client.request({ command: Command.READ, offset: 0, length: LENGTH });
  expectSame(await dataOf(client, 0), content.subarray(0, LENGTH));
});

test('no pages go to the descriptor under a socket that encrypts, or to one that is closed or behind', () => {
  class TLSWrap {
    readonly fd = 1;
  }
  class Pipe {
    readonly fd = 1;
  }
  const pipeFor = (socket: object) => {
    const memory = new MemoryBudget(MIB).open(() => {});
    return new ReplyWriter(socket as Socket, new PiecePool(), memory).pagePipe;
  };
  expect(pipeFor({ writableLength: 0, _handle: new TLSWrap() })).toBeUndefined();
  expect(pipeFor({ writableLength: 0, _handle: null })).toBeUndefined();
  expect(pipeFor({ writableLength: 1, _handle: new Pipe() })).toBeUndefined();
  expect(pipeFor({ writableLength: 0, _handle: new Pipe() })).toBeDefined();
});
