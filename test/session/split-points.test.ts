import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect, test } from 'vitest';
import { operator } from '../../src/access/identity.js';
import { Refusals } from '../../src/access/refusals.js';
import { silentLog } from '../../src/base/log.js';
import { GIB, KIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import type { ReplyForm } from '../../src/protocol/reply-form.js';
import { BusyPoller } from '../../src/session/busy-poller.js';
import { BusyThreads, servedTimesOf } from '../../src/session/busy-threads.js';
import { Connection } from '../../src/session/connection.js';
import { MemoryBudget } from '../../src/session/memory-budget.js';
import { PassClock } from '../../src/session/pass-clock.js';
import { PiecePool } from '../../src/session/piece-pool.js';
import { memoryRegistry } from '../support/memory-server.js';
import { openPolicy } from '../support/open-access.js';
import {
  encodeExtendedRequest,
  encodeOption,
  encodeRequest,
  infoData,
  metaData,
  statusPayload,
  u32,
} from '../support/raw-client.js';

/** A socket without a handle. Each chunk pushed arrives as one 'data' event, and everything written is kept. */
class FakeSocket extends Duplex {
  readonly output: Buffer[] = [];

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.output.push(Buffer.from(chunk));
    done();
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }
}

/** Returns what the server sends when these pieces arrive one by one, each in its own turn of the event loop. */
async function converse(pieces: Buffer[]): Promise<Buffer> {
  const socket = new FakeSocket();
  const exports = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]);
  const connection = new Connection(
    socket as unknown as Socket,
    { client: 'fake', origin: 'fake', identity: operator },
    {
      registry: exports,
      policy: openPolicy,
      refusals: new Refusals(silentLog),
      terms: { multipleConnections: true },
      pool: new PiecePool(),
      memory: new MemoryBudget(GIB),
      busyPoller: new BusyPoller(0, new BusyThreads(servedTimesOf(1), 0)),
      clock: new PassClock(),
      log: silentLog,
      handshakeTimeoutMilliseconds: 60_000,
    },
  );
  for (const piece of pieces) {
    socket.push(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.push(null);
  await connection.closed;
  return Buffer.concat(socket.output);
}

/** The replies by cookie, with their chunks in order: replies can be out of order, but the chunks of a reply cannot. */
function repliesByCookie(stream: Buffer, form: ReplyForm, readLengths: Map<bigint, number>): object {
  const replies = new Map<bigint, string[]>();
  const endOf = (at: number, cookie: bigint) => {
    if (form === 'structured') return at + 20 + stream.readUInt32BE(at + 16);
    if (form === 'extended') return at + 32 + Number(stream.readBigUInt64BE(at + 24));
    return at + 16 + (readLengths.get(cookie) ?? 0);
  };
  for (let at = 0; at < stream.length; ) {
    const cookie = stream.readBigUInt64BE(at + 8);
    const end = endOf(at, cookie);
    replies.set(cookie, [...(replies.get(cookie) ?? []), stream.toString('hex', at, end)]);
    at = end;
  }
  return Object.fromEntries([...replies].sort(([a], [b]) => Number(a - b)));
}

const { Command, CommandFlag, Option } = nbd;

const requests = [
  { command: Command.WRITE, offset: 1000, payload: Buffer.alloc(700, 0xab) },
  { command: Command.READ, offset: 900, length: 900 },
  { command: Command.WRITE, offset: 2 ** 40, payload: Buffer.alloc(50) },
  { command: 42 },
  { command: Command.FLUSH },
  { command: Command.WRITE_ZEROES, offset: 64 * KIB, length: 64 * KIB },
  { command: Command.TRIM, offset: 128 * KIB, length: 4 * KIB },
  { command: Command.READ, offset: 0, length: 100 },
].map((request, index) => ({ ...request, cookie: BigInt(index + 1) }));
const readLengths = new Map([
  [2n, 900],
  [8n, 100],
]);

const leave = { command: Command.DISC, cookie: 99n };

const handshakeFor = (repliesOption: number) =>
  Buffer.concat([
    u32(3),
    encodeOption(77, Buffer.from('unknown')),
    encodeOption(repliesOption),
    encodeOption(Option.LIST_META_CONTEXT, metaData('disk', [])),
    encodeOption(Option.SET_META_CONTEXT, metaData('disk', ['base:allocation', 'qemu:dirty-bitmap:nightly'])),
    encodeOption(Option.GO, infoData('disk', [0, 3])),
  ]);
const blockStatus = { command: Command.BLOCK_STATUS, flags: CommandFlag.REQ_ONE, length: 512, cookie: 50n };
const statusOfOne = { command: Command.BLOCK_STATUS, payload: statusPayload(512, 2), cookie: 51n };
const unexpectedPayload = { command: Command.TRIM, payload: Buffer.alloc(100), cookie: 52n };

const conversations = [
  {
    name: 'structured replies by GO',
    form: 'structured',
    handshake: handshakeFor(Option.STRUCTURED_REPLY),
    transmission: Buffer.concat([...requests, blockStatus].map(encodeRequest)),
    disconnect: encodeRequest(leave),
  },
  {
    name: 'extended headers',
    form: 'extended',
    handshake: handshakeFor(Option.EXTENDED_HEADERS),
    transmission: Buffer.concat([...requests, blockStatus, statusOfOne, unexpectedPayload].map(encodeExtendedRequest)),
    disconnect: encodeExtendedRequest(leave),
  },
  {
    name: 'simple replies by EXPORT_NAME',
    form: 'simple',
    handshake: Buffer.concat([u32(1), encodeOption(Option.EXPORT_NAME, Buffer.from('disk'))]),
    transmission: Buffer.concat(requests.map(encodeRequest)),
    disconnect: encodeRequest(leave),
  },
] as const;

test.each(conversations)('$name: the answers are the same wherever the stream is split', async (conversation) => {
  const { form, handshake, transmission, disconnect } = conversation;
  const haggled = await converse([handshake, disconnect]);
  const digest = (output: Buffer) => {
    expect(output.subarray(0, haggled.length).equals(haggled)).toBe(true);
    return repliesByCookie(output.subarray(haggled.length), form, readLengths);
  };
  const whole = Buffer.concat([handshake, transmission, disconnect]);
  const expected = digest(await converse([whole]));
  expect(Object.keys(expected)).toHaveLength(requests.length + { simple: 0, structured: 1, extended: 3 }[form]);
  for (let at = 1; at < whole.length; at++) {
    const split = digest(await converse([whole.subarray(0, at), whole.subarray(at)]));
    expect(split, `split at byte ${at}`).toEqual(expected);
  }
  const bytewise = Array.from(whole, (_, at) => whole.subarray(at, at + 1));
  expect(digest(await converse(bytewise))).toEqual(expected);
});
