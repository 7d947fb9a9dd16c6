import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { Handshake } from '../../src/session/handshake.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry, startMemoryServer } from '../support/memory-server.js';
import { allSeen } from '../support/open-access.js';
import { counted, encodeOption, infoData, metaData, u32 } from '../support/raw-client.js';
import { receivedBytes } from '../support/received-bytes.js';

const { Option, OptionError, OptionReply, InfoType } = nbd;
const FIXED = nbd.HandshakeFlag.FIXED_NEWSTYLE;

async function haggling(...served: Parameters<typeof startMemoryServer>) {
  const server = await startMemoryServer(...served);
  const client = await server.connect();
  await client.greet();
  return client;
}

test('1.2 the greeting offers fixed newstyle and no zeroes', async () => {
  const server = await startMemoryServer();
  const greeting = await (await server.connect()).read(18);
  expect(greeting.subarray(0, 16).toString()).toBe('NBDMAGICIHAVEOPT');
  expect(greeting.readUInt16BE(16)).toBe(3);
});

test('1.2 an unknown client flag drops the connection', async () => {
  const client = await (await startMemoryServer()).connect();
  await client.greet(FIXED | 4);
  client.option(Option.LIST);
  expect(await client.rest()).toHaveLength(0);
});

test('1.2 without fixed newstyle only EXPORT_NAME is valid, and the handshake continues', async () => {
  const client = await (await startMemoryServer()).connect();
  await client.greet(0);
  client.option(Option.LIST);
  expect((await client.reply()).type).toBe(OptionError.INVALID);
  client.option(Option.EXPORT_NAME, Buffer.from('disk'));
  expect(await client.read(134)).toHaveLength(134);
});

test('1.2 an unknown option is refused, and its data is skipped, so that the next one is understood', async () => {
  const client = await haggling();
  client.option(77, Buffer.alloc(3000, 0x49));
  expect((await client.reply()).type).toBe(OptionError.UNSUP);
  client.option(Option.LIST);
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test('1.2 the withdrawn PEEK_EXPORT is an unknown option', async () => {
  const client = await haggling();
  client.option(Option.PEEK_EXPORT);
  expect((await client.reply()).type).toBe(OptionError.UNSUP);
});

test('1.2 an option header with the wrong magic drops the connection', async () => {
  const client = await haggling();
  client.send(Buffer.alloc(16, 7));
  expect(await client.rest()).toHaveLength(0);
});

test('1.2 EXPORT_NAME answers size, flags and 124 zero bytes to a client that did not waive them', async () => {
  const client = await (await startMemoryServer()).connect();
  await client.greet(FIXED);
  client.option(Option.EXPORT_NAME, Buffer.from('disk'));
  const reply = await client.read(134);
  expect(Number(reply.readBigUInt64BE(0))).toBe(DISK_BYTES);
  expect(reply.readUInt16BE(8) & nbd.TransmissionFlag.HAS_FLAGS).toBe(1);
  expect(reply.subarray(10).every((byte) => byte === 0)).toBe(true);
});

test('1.2 EXPORT_NAME has no zero bytes when both sides waived them', async () => {
  const client = await haggling();
  client.option(Option.EXPORT_NAME, Buffer.from('disk'));
  await client.read(10);
  client.request({ command: nbd.Command.READ, length: 1 });
  expect((await client.simpleReply(1)).error).toBe(0);
});

test.each([
  ['an unknown name', Buffer.from('nowhere')],
  ['a name that is no text', Buffer.from([0xff, 0xfe])],
  ['a name over 4096 bytes', Buffer.alloc(5000, 0x61)],
])('1.2 EXPORT_NAME with %s ends the session', async (_what, name) => {
  const client = await haggling();
  client.option(Option.EXPORT_NAME, name);
  expect(await client.rest()).toHaveLength(0);
});

test('1.2 ABORT is acknowledged, whatever its data, and ends the session', async () => {
  const client = await haggling();
  client.option(Option.ABORT, Buffer.from('bye'));
  expect((await client.reply()).type).toBe(OptionReply.ACK);
  expect(await client.rest()).toHaveLength(0);
});

test('1.2 a client that aborts and closes at once does no harm', async () => {
  const server = await startMemoryServer();
  const rude = await server.connect();
  await rude.greet();
  rude.option(Option.ABORT);
  rude.close();
  const next = await server.connect();
  await next.go('disk');
});

test('1.2 LIST names every export with its description', async () => {
  const client = await haggling([{ name: 'a', description: 'first' }, { name: 'b' }]);
  client.option(Option.LIST);
  const replies = await client.replies();
  expect(replies.map(({ type }) => type)).toEqual([OptionReply.SERVER, OptionReply.SERVER, OptionReply.ACK]);
  expect(replies[0]!.data).toEqual(Buffer.concat([counted('a'), Buffer.from('first')]));
  expect(replies[1]!.data).toEqual(counted('b'));
});

test.each([
  ['LIST', Option.LIST, OptionError.INVALID],
  ['STRUCTURED_REPLY', Option.STRUCTURED_REPLY, OptionError.INVALID],
  ['EXTENDED_HEADERS', Option.EXTENDED_HEADERS, OptionError.INVALID],
  ['STARTTLS', Option.STARTTLS, OptionError.UNSUP],
])('1.2 %s with data is refused, and the handshake continues', async (_name, option, error) => {
  const client = await haggling();
  client.option(option, Buffer.from('data'));
  expect((await client.reply()).type).toBe(error);
  client.option(Option.LIST);
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test('1.3 STARTTLS without TLS is unsupported, and nothing ever requires TLS', async () => {
  const client = await haggling();
  client.option(Option.STARTTLS);
  const reply = await client.reply();
  expect(reply.type).toBe(OptionError.UNSUP);
  expect(reply.data.toString()).toBe('TLS is not configured');
});

test('1.2 a second STRUCTURED_REPLY is invalid', async () => {
  const client = await haggling();
  client.option(Option.STRUCTURED_REPLY);
  client.option(Option.STRUCTURED_REPLY);
  expect((await client.reply()).type).toBe(OptionReply.ACK);
  expect((await client.reply()).type).toBe(OptionError.INVALID);
});

test.each([
  ['no data', Buffer.alloc(0)],
  ['a name longer than the option', Buffer.concat([u32(100), Buffer.from('disk')])],
  ['a name length that leaves no count', counted('disk')],
  ['a count beyond the data', Buffer.concat([infoData('disk', []).subarray(0, 8), Buffer.from([0, 3, 0, 0])])],
  ['data after the last type', Buffer.concat([infoData('disk', [0]), Buffer.from([0])])],
  ['a name with a NUL', infoData('di\0sk')],
  ['a name over 4096 bytes', infoData('x'.repeat(4097))],
])('1.2 GO with %s is invalid, and the handshake continues', async (_what, data) => {
  const client = await haggling();
  client.option(Option.GO, data);
  expect((await client.reply()).type).toBe(OptionError.INVALID);
  client.option(Option.GO, infoData('disk'));
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test.each([
  ['INFO', Option.INFO],
  ['GO', Option.GO],
])('1.2 %s for an unknown export is ERR_UNKNOWN, with no INFO before it', async (_name, option) => {
  const client = await haggling();
  client.option(option, infoData('nowhere'));
  expect((await client.replies()).map(({ type }) => type)).toEqual([OptionError.UNKNOWN]);
});

test('1.2 GO sends INFO_EXPORT of 12 bytes before the ACK, even if the client asks for nothing (nbd-client)', async () => {
  const client = await haggling();
  client.option(Option.GO, infoData('disk'));
  const [info, ack] = await client.replies();
  expect(info!.data).toHaveLength(12);
  expect(Number(info!.data.readBigUInt64BE(2))).toBe(DISK_BYTES);
  expect(ack!.type).toBe(OptionReply.ACK);
});

test('1.4 BLOCK_SIZE reports 512, 4096 and 32 MiB in 14 bytes', async () => {
  const client = await haggling();
  client.option(Option.INFO, infoData('disk', [InfoType.BLOCK_SIZE]));
  const info = (await client.replies()).find(({ data }) => data.length === 14)!;
  expect([2, 6, 10].map((at) => info.data.readUInt32BE(at))).toEqual([512, 4096, 2 ** 25]);
});

test('1.2 unknown information types are ignored, and NAME and DESCRIPTION are answered', async () => {
  const client = await haggling([{ name: 'disk', description: 'of mine' }]);
  client.option(Option.INFO, infoData('', [99, InfoType.NAME, InfoType.DESCRIPTION]));
  const replies = await client.replies();
  expect(replies.map(({ type }) => type)).toEqual([3, 3, 3, 1]);
  expect(replies[0]!.data.subarray(2).toString()).toBe('disk');
  expect(replies[1]!.data.subarray(2).toString()).toBe('of mine');
});

test('1.2 INFO and the GO after it give the same information', async () => {
  const client = await haggling();
  client.option(Option.STRUCTURED_REPLY);
  await client.reply();
  client.option(Option.INFO, infoData('disk', [InfoType.BLOCK_SIZE]));
  const info = await client.replies();
  client.option(Option.GO, infoData('disk', [InfoType.BLOCK_SIZE]));
  expect((await client.replies()).map(({ data }) => data)).toEqual(info.map(({ data }) => data));
});

test('the empty name stands for the only export, and for none when there are two', async () => {
  const one = await haggling();
  one.option(Option.GO, infoData(''));
  expect((await one.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  const two = await haggling([{ name: 'a' }, { name: 'b' }]);
  two.option(Option.GO, infoData(''));
  expect((await two.replies()).at(-1)!.type).toBe(OptionError.UNKNOWN);
});

test('1.2 an option with more data than the server keeps is skipped and answered with TOO_BIG', async () => {
  const client = await haggling();
  client.send(encodeOption(Option.SET_META_CONTEXT, Buffer.alloc(2 * 2 ** 20)));
  expect((await client.reply()).type).toBe(OptionError.TOO_BIG);
  client.option(Option.LIST);
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test('1.2 an option that claims more than 32 MiB drops the connection', async () => {
  const client = await haggling();
  client.send(encodeOption(Option.LIST, Buffer.alloc(0), 2 ** 25 + 1));
  expect(await client.rest()).toHaveLength(0);
});

test('1.2 the 33rd option is refused with a reason, and ends the connection; each LIST allows 32 more for each export', async () => {
  const endless = await haggling();
  for (let i = 0; i < 40; i++) endless.option(Option.STARTTLS);
  for (let i = 0; i < 32; i++) expect((await endless.reply()).type).toBe(OptionError.UNSUP);
  const last = await endless.reply();
  expect([last.option, last.type]).toEqual([Option.STARTTLS, OptionError.POLICY]);
  expect(last.data.toString()).toBe('a client may send 32 options, and 32 more for each export that it lists');
  expect(await endless.rest()).toHaveLength(0);
  const listing = await haggling();
  listing.option(Option.LIST);
  for (let i = 0; i < 40; i++) listing.option(Option.INFO, infoData('disk'));
  await listing.replies();
  for (let i = 0; i < 40; i++) expect((await listing.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test.each([
  ['GO is', Option.GO, infoData('disk'), [OptionReply.INFO, OptionReply.ACK]],
  ['ABORT is', Option.ABORT, Buffer.alloc(0), [OptionReply.ACK]],
])('1.2 %s answered as the 32nd option', async (_what, option, data, types) => {
  const client = await haggling();
  for (let i = 0; i < 31; i++) client.option(Option.STARTTLS);
  for (let i = 0; i < 31; i++) await client.reply();
  client.option(option, data);
  expect((await client.replies()).map(({ type }) => type)).toEqual(types);
});

test('1.2 a client without options left may still abort', async () => {
  const client = await haggling();
  for (let i = 0; i < 32; i++) client.option(Option.STARTTLS);
  for (let i = 0; i < 32; i++) await client.reply();
  client.option(Option.ABORT);
  expect((await client.replies()).map(({ type }) => type)).toEqual([OptionReply.ACK]);
});

test('1.2 a client that asks for lists and does not read has to wait, and gets the whole list when it reads', async () => {
  const lists = Buffer.concat(Array.from({ length: 5000 }, () => encodeOption(Option.LIST)));
  const served = { name: 'disk', description: 'x'.repeat(1000) };
  const sent: Buffer[] = [];
  const output = {
    get hasRoom() {
      return sent.length < 2;
    },
    send: (message: Buffer) => sent.push(message),
  };
  const handshake = new Handshake(allSeen(await memoryRegistry([served])), output, {
    multipleConnections: true,
    tls: 'none',
  });
  const input = receivedBytes(Buffer.concat([u32(FIXED), lists]));
  handshake.consume(input);
  expect([input.start, sent.length]).toEqual([4 + 16, 2]);
  sent.length = 0;
  handshake.consume(input);
  expect([input.start, sent.length]).toEqual([4 + 32, 2]);

  const client = await haggling([served]);
  client.send(lists);
  const answerBytes = 20 + 4 + 'disk'.length + 1000 + 20;
  const answers = await client.read(5000 * answerBytes);
  expect(answers.readUInt32BE(answers.length - 8)).toBe(OptionReply.ACK);
});

test('a list of many exports is sent in slices, and the next option waits for its end', async () => {
  const names = Array.from({ length: 300 }, (_, i) => ({ name: `disk${i}`, device: new MemoryDevice(512) }));
  const sent: Buffer[] = [];
  const output = { hasRoom: true, send: (message: Buffer) => sent.push(message) };
  const handshake = new Handshake(allSeen(await memoryRegistry(names)), output, {
    multipleConnections: true,
    tls: 'none',
  });
  const input = receivedBytes(Buffer.concat([u32(FIXED), encodeOption(Option.LIST), encodeOption(Option.ABORT)]));
  handshake.consume(input);
  expect([input.start, sent.length, handshake.answering]).toEqual([4 + 16, 128, true]);
  handshake.consume(input);
  expect([input.start, sent.length, handshake.outcome]).toEqual([4 + 16, 256, undefined]);
  handshake.consume(input);
  expect([input.start, sent.length, handshake.answering]).toEqual([4 + 32, 302, false]);
});

test('a client gets the whole list of many exports', async () => {
  const names = Array.from({ length: 300 }, (_, i) => ({ name: `disk${i}`, device: new MemoryDevice(512) }));
  const client = await haggling(names);
  client.option(Option.LIST);
  client.option(Option.INFO, infoData('disk299'));
  expect(await client.replies()).toHaveLength(301);
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test('1.6 a client that never finishes its handshake is cut off', async () => {
  const client = await haggling([{ name: 'disk' }], { handshakeTimeoutSeconds: 0.05 });
  expect(await client.rest()).toHaveLength(0);
});

test('1.6 connections above the limit are turned away', async () => {
  const server = await startMemoryServer([{ name: 'disk' }], { maxConnections: 1 });
  const first = await server.connect();
  await first.greet();
  first.option(Option.GO, infoData('disk'));
  const replies = await first.replies();
  expect(replies.at(-1)!.type).toBe(OptionReply.ACK);
  // 1.5: a client that may connect only once is not offered CAN_MULTI_CONN.
  expect(replies[0]!.data.readUInt16BE(10) & nbd.TransmissionFlag.CAN_MULTI_CONN).toBe(0);
  const second = await server.connect();
  expect(await second.rest()).toHaveLength(0);
  first.request({ command: nbd.Command.READ, length: 1 });
  expect((await first.simpleReply(1)).error).toBe(0);
});

test('1.6 idle handshakes do not keep out new clients, because the oldest one is closed', async () => {
  const server = await startMemoryServer([{ name: 'disk' }], { maxConnections: 4 });
  const idle = [];
  for (let i = 0; i < 4; i++) {
    idle.push(await server.connect());
    await idle[i]!.read(18);
  }
  for (let i = 0; i < 3; i++) await (await server.connect()).go('disk');
  for (const one of idle.slice(0, 3)) expect(await one.rest()).toHaveLength(0);
  idle[3]!.send(u32(FIXED));
  idle[3]!.option(Option.GO, infoData('disk'));
  expect((await idle[3]!.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  expect(server.listener.connectionCount).toBe(4);
});

test('1.2 options during a shutdown get ERR_SHUTDOWN, and ABORT is acknowledged', async () => {
  const server = await startMemoryServer();
  const client = await server.connect();
  await client.greet();
  client.option(Option.LIST);
  await client.replies();
  const drained = server.listener.drain();
  client.option(Option.GO, infoData('disk'));
  expect((await client.reply()).type).toBe(OptionError.SHUTDOWN);
  client.option(Option.ABORT);
  expect((await client.reply()).type).toBe(OptionReply.ACK);
  await drained;
});

test('1.1 an error message is not longer than a string may be', async () => {
  const client = await haggling();
  client.option(Option.GO, infoData('x'.repeat(4096)));
  const reply = await client.reply();
  expect(reply.type).toBe(OptionError.UNKNOWN);
  expect(reply.data.length).toBeLessThanOrEqual(4096);
});

test('1.2 ABORT is acknowledged without waiting for its data', async () => {
  const client = await haggling();
  client.send(encodeOption(Option.ABORT, Buffer.alloc(0), 30 * MIB));
  expect((await client.reply()).type).toBe(OptionReply.ACK);
});

test('1.2 a byte order mark is part of a name', async () => {
  const client = await haggling();
  client.option(Option.INFO, infoData('\uFEFFdisk'));
  expect((await client.reply()).type).toBe(OptionError.UNKNOWN);
});

test.each([
  ['an unknown option', 77, OptionError.UNSUP],
  ['STARTTLS', Option.STARTTLS, OptionError.UNSUP],
  ['an option above the limit for its data', Option.GO, OptionError.TOO_BIG],
])('1.2 %s is answered before its data arrives, and the data is skipped', async (_what, option, error) => {
  const client = await haggling();
  const data = Buffer.alloc(2 * MIB, 0x49);
  client.send(encodeOption(option, data.subarray(0, 10), data.length));
  expect((await client.reply()).type).toBe(error);
  client.send(data.subarray(10));
  client.option(Option.LIST);
  expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
});

test.each([
  ['an unknown export', Buffer.from('nowhere'), 'there is no export "nowhere"'],
  ['too much data', Buffer.alloc(MIB + 1), 'the option has more than 1048576 bytes of data'],
  ['a name that is no text', Buffer.from([0xff]), 'the name is not valid'],
])(
  '1.2 EXPORT_NAME has no error reply: with %s the connection ends, and the reason says why',
  async (_what, data, why) => {
    const sent: Buffer[] = [];
    const output = { hasRoom: true, send: (message: Buffer) => sent.push(message) };
    const handshake = new Handshake(allSeen(await memoryRegistry([{ name: 'disk' }])), output, {
      multipleConnections: true,
      tls: 'none',
    });
    handshake.consume(receivedBytes(Buffer.concat([u32(FIXED), encodeOption(Option.EXPORT_NAME, data)])));
    expect(handshake.outcome).toEqual({ closeReason: `EXPORT_NAME was refused: ${why}` });
    expect(sent).toHaveLength(0);
  },
);

test('1.2 EXPORT_NAME ends the connection while the server is stopping', async () => {
  const output = { hasRoom: true, send: () => {} };
  const handshake = new Handshake(allSeen(await memoryRegistry([{ name: 'disk' }])), output, {
    multipleConnections: true,
    tls: 'none',
  });
  handshake.shuttingDown = true;
  const option = encodeOption(Option.EXPORT_NAME, Buffer.from('disk'));
  handshake.consume(receivedBytes(Buffer.concat([u32(FIXED), option])));
  expect(handshake.outcome).toEqual({ closeReason: 'EXPORT_NAME was refused: the server is stopping' });
});

test('1.2 a selection of contexts is dropped even if the option that would replace it is too big', async () => {
  const client = await haggling([{ name: 'disk', bitmaps: ['nightly'] }]);
  client.option(Option.STRUCTURED_REPLY);
  await client.replies();
  client.option(Option.SET_META_CONTEXT, metaData('disk', ['base:allocation']));
  expect((await client.replies()).map(({ type }) => type)).toEqual([OptionReply.META_CONTEXT, OptionReply.ACK]);
  client.option(Option.SET_META_CONTEXT, Buffer.alloc(MIB + 1));
  expect((await client.reply()).type).toBe(OptionError.TOO_BIG);
  client.option(Option.GO, infoData('disk'));
  await client.replies();
  client.request({ command: nbd.Command.BLOCK_STATUS, length: 512 });
  const [chunk] = await client.chunks();
  expect(chunk!.payload.subarray(6).toString()).toBe(
    'NBD_CMD_BLOCK_STATUS needs a metadata context, and none is selected',
  );
});
