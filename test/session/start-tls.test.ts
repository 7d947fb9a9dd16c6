import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Policy } from '../../src/access/access.js';
import { AccessRules } from '../../src/access/access-rules.js';
import { KIB, MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import type { TlsSettings } from '../../src/tls/tls-settings.js';
import { keepLog, type LoggedLine } from '../support/log-lines.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';
import { encodeOption, infoData, metaData, type RawClient } from '../support/raw-client.js';
import { TestAuthority } from '../support/tls-files.js';

const { Command, Option, OptionError, OptionReply } = nbd;

let settings: TlsSettings;
let authority: TestAuthority;
beforeAll(async () => {
  authority = await TestAuthority.create();
  const { certificate, key } = await authority.issue({ subject: 'CN=localhost', purpose: 'server' });
  settings = { ca: authority.certificate, certificate, key, psk: new Map([['alice', Buffer.alloc(32, 7)]]) };
});

const trusting = () => ({ ca: authority.certificate });

type Mode = 'optional' | 'required';

async function serve(mode: Mode, rules: Policy['current'] = new AccessRules([])) {
  const { log, lines } = keepLog();
  const served = [{ name: 'disk', bitmaps: ['nightly'] }, { name: 'other' }];
  const server = await startMemoryServer(served, {}, log, { tls: { mode, settings }, policy: new Policy(rules) });
  return { ...server, lines };
}

async function haggling(mode: Mode, rules?: Policy['current']): Promise<{ client: RawClient; lines: LoggedLine[] }> {
  const { connect: newClient, lines } = await serve(mode, rules);
  const client = await newClient();
  await client.greet();
  return { client, lines };
}

const messages = (lines: readonly LoggedLine[]) => lines.map(({ message }) => message);
const reasons = (lines: readonly LoggedLine[]) => lines.map(({ fields }) => (fields as { reason?: string }).reason);

describe.each(['optional', 'required'] as const)('with TLS %s', (mode) => {
  test('1.3 after STARTTLS everything is encrypted, and data arrives unchanged', async () => {
    const { client, lines } = await haggling(mode);
    const socket = await client.startTls(trusting());
    expect(socket.getProtocol()).toBe('TLSv1.3');
    client.option(Option.STRUCTURED_REPLY);
    await client.replies();
    client.option(Option.GO, infoData('disk'));
    await client.replies();
    const payload = randomBytes(2 * MIB);
    client.request({ command: Command.WRITE, payload });
    expect(await client.structuredError()).toBe(0);
    for (let offset = 0; offset < payload.length; offset += 512 * KIB) {
      client.request({ command: Command.READ, offset, length: 512 * KIB });
    }
    const read: Buffer[] = [];
    while (read.length < 4) read.push(...(await client.chunks()).map((chunk) => chunk.payload.subarray(8)));
    expect(Buffer.concat(read).equals(payload)).toBe(true);
    expect(lines.find(({ message }) => message === 'TLS begins')?.fields).toMatchObject({ protocol: 'TLSv1.3' });
  });

  test.each([
    ['structured replies', Option.STRUCTURED_REPLY],
    ['extended headers', Option.EXTENDED_HEADERS],
  ])('1.3 what was agreed before TLS is forgotten: %s', async (_name, option) => {
    const { client } = await haggling('optional');
    client.option(option);
    await client.replies();
    client.option(Option.SET_META_CONTEXT, metaData('disk', ['base:allocation']));
    await client.replies();
    await client.startTls(trusting());
    client.option(Option.SET_META_CONTEXT, metaData('disk', ['base:allocation']));
    expect((await client.reply()).type).toBe(OptionError.INVALID);
    client.option(Option.GO, infoData('disk'));
    await client.replies();
    client.request({ command: Command.READ, length: 4 });
    expect((await client.simpleReply(4)).error).toBe(0);
    client.request({ command: Command.BLOCK_STATUS, length: 4096 });
    expect((await client.simpleReply()).error).toBe(22);
  });

  test('1.3 EXPORT_NAME after TLS has no zero bytes if they were waived before, because client flags are not sent again', async () => {
    const { client } = await haggling(mode);
    await client.startTls(trusting());
    client.option(Option.EXPORT_NAME, Buffer.from('disk'));
    expect(Number((await client.read(10)).readBigUInt64BE(0))).toBe(DISK_BYTES);
    client.request({ command: Command.READ, length: 1 });
    expect((await client.simpleReply(1)).error).toBe(0);
  });

  test('1.3 data behind STARTTLS that comes before the answer ends the connection without one', async () => {
    const { client, lines } = await haggling(mode);
    client.send(Buffer.concat([encodeOption(Option.STARTTLS), encodeOption(Option.LIST)]));
    expect(await client.rest()).toHaveLength(0);
    await expect.poll(() => reasons(lines)).toContain('sent data behind STARTTLS before the answer');
  });

  test('1.3 what is not TLS after the answer ends the connection, and is not understood', async () => {
    const { client, lines } = await haggling(mode);
    client.option(Option.STARTTLS);
    expect((await client.reply()).type).toBe(OptionReply.ACK);
    client.option(Option.GO, infoData('disk'));
    expect((await client.rest()).subarray(0, 8).toString()).not.toBe('IHAVEOPT');
    await expect.poll(() => messages(lines)).toContain('refused a TLS handshake: the client did not speak TLS');
  });

  test('1.3 STARTTLS with data, and a second one, are invalid, and the handshake continues', async () => {
    const { client } = await haggling(mode);
    client.option(Option.STARTTLS, Buffer.from('data'));
    expect((await client.reply()).type).toBe(OptionError.INVALID);
    await client.startTls(trusting());
    client.option(Option.STARTTLS);
    expect((await client.reply()).type).toBe(OptionError.INVALID);
    client.option(Option.LIST);
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  });

  test('a refused client is told nothing, and the reason is in the log', async () => {
    const foreign = await (await TestAuthority.create()).issue({ subject: 'CN=eve', purpose: 'client' });
    const { client, lines } = await haggling(mode);
    await client.startTls({ ...trusting(), cert: foreign.certificate, key: foreign.key });
    expect(await client.rest()).toHaveLength(0);
    const why = "refused a TLS handshake: the certificate CN=eve is not from this server's authority";
    await expect.poll(() => messages(lines)).toContain(why);
  });

  test('TLS does not give a client more options', async () => {
    const { client } = await haggling(mode);
    for (let i = 0; i < 16; i++) client.option(99);
    for (let i = 0; i < 16; i++) await client.reply();
    await client.startTls(trusting());
    for (let i = 0; i < 16; i++) client.option(99);
    const types = [];
    for (let i = 0; i < 16; i++) types.push((await client.reply()).type);
    expect(types.at(-2)).toBe(OptionError.UNSUP);
    expect(types.at(-1)).toBe(OptionError.POLICY);
  });

  test('a client that does not finish the TLS handshake leaves in time, or for another client', async () => {
    const { log, lines } = keepLog();
    const tls = { mode, settings };
    const limits = { handshakeTimeoutSeconds: 0.2, maxConnections: 2 };
    const server = await startMemoryServer([{ name: 'disk' }], limits, log, { tls });
    const client = await server.connect();
    await client.greet();
    client.option(Option.STARTTLS);
    expect((await client.reply()).type).toBe(OptionReply.ACK);
    expect(await client.rest()).toHaveLength(0);
    await expect.poll(() => reasons(lines)).toContain('did not finish the handshake in time');
  });

  test('TLS begins while the server stops only to end', async () => {
    const { listener, connect: newClient } = await serve(mode);
    const client = await newClient();
    await client.greet();
    await client.startTls(trusting());
    const drained = listener.drain();
    client.option(Option.GO, infoData('disk'));
    expect((await client.reply()).type).toBe(OptionError.SHUTDOWN);
    client.option(Option.ABORT);
    expect((await client.reply()).type).toBe(OptionReply.ACK);
    await drained;
  });
});

describe('with TLS required', () => {
  test.each([
    ['LIST', Option.LIST, undefined],
    ['GO', Option.GO, infoData('disk')],
    ['INFO of an unknown export', Option.INFO, infoData('nowhere')],
    ['STRUCTURED_REPLY with data', Option.STRUCTURED_REPLY, Buffer.from('data')],
    ['SET_META_CONTEXT', Option.SET_META_CONTEXT, metaData('disk', ['base:allocation'])],
    ['an unknown option', 77, Buffer.alloc(3000)],
  ])('1.3 %s needs TLS', async (_what, option, data) => {
    const { client } = await haggling('required');
    client.option(option, data);
    expect((await client.reply()).type).toBe(OptionError.TLS_REQD);
    await client.startTls(trusting());
    client.option(Option.LIST);
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  });

  test('1.3 ABORT is answered, and EXPORT_NAME ends the connection', async () => {
    const { client } = await haggling('required');
    client.option(Option.ABORT);
    expect((await client.reply()).type).toBe(OptionReply.ACK);
    const other = await haggling('required');
    other.client.option(Option.EXPORT_NAME, Buffer.from('disk'));
    expect(await other.client.rest()).toHaveLength(0);
  });

  test('1.3 a client without fixed newstyle is turned away', async () => {
    const { connect: newClient } = await serve('required');
    const client = await newClient();
    await client.greet(0);
    client.option(Option.EXPORT_NAME, Buffer.from('disk'));
    expect(await client.rest()).toHaveLength(0);
  });
});

describe('with TLS optional', () => {
  const withTls: Policy['current'] = { may: ({ encrypted }) => encrypted === true, mayAll: () => false };

  test('1.3 INFO and GO of an export that is there only with TLS say so, as of one that is not there', async () => {
    const { client } = await haggling('optional', withTls);
    for (const option of [Option.INFO, Option.GO]) {
      for (const name of ['disk', 'nowhere']) {
        client.option(option, infoData(name));
        const { type, data } = await client.reply();
        expect(type).toBe(OptionError.TLS_REQD);
        expect(data.toString()).toBe(`there is no export "${name}" for clients without TLS`);
      }
    }
    client.option(Option.LIST);
    expect(await client.replies()).toHaveLength(1);
    client.option(Option.LIST_META_CONTEXT, metaData('disk', []));
    expect((await client.reply()).type).toBe(OptionError.UNKNOWN);
    await client.startTls(trusting());
    client.option(Option.INFO, infoData('nowhere'));
    expect((await client.reply()).type).toBe(OptionError.UNKNOWN);
    client.option(Option.GO, infoData('disk'));
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  });

  test('1.3 a client may do without TLS what it may do', async () => {
    const { client } = await haggling('optional');
    client.option(Option.GO, infoData('disk'));
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
  });

  test('rules see what the client has proven', async () => {
    const seen: unknown[] = [];
    const rules: Policy['current'] = { may: (identity) => seen.push(identity) > 0, mayAll: () => true };
    const { client } = await haggling('optional', rules);
    const { certificate, key } = await authority.issue({ subject: 'CN=backup1', purpose: 'client' });
    await client.startTls({ ...trusting(), cert: certificate, key });
    seen.length = 0;
    client.option(Option.INFO, infoData('disk'));
    await client.replies();
    expect(seen[0]).toMatchObject({ encrypted: true, certificate: { commonName: 'backup1', dn: 'CN=backup1' } });
  });
});

test('1.3 a handshake over TLS is understood however its bytes are cut', async () => {
  const { connect: newClient } = await serve('required');
  for (const step of [1, 3, 7]) {
    const client = await newClient();
    await client.greet();
    const socket = await client.startTls(trusting());
    const bytes = Buffer.concat([encodeOption(Option.LIST), encodeOption(Option.GO, infoData('disk'))]);
    for (let at = 0; at < bytes.length; at += step) socket.write(bytes.subarray(at, at + step));
    expect((await client.replies()).map(({ type }) => type)).toEqual([2, 2, 1]);
    expect((await client.replies()).at(-1)!.type).toBe(OptionReply.ACK);
    client.request({ command: Command.DISC });
    await client.rest();
  }
});

test('a client that hangs up in the middle of the TLS handshake is gone', async () => {
  const { path, listener } = await serve('required');
  const socket = connect({ path });
  onTestFinished(() => void socket.destroy());
  await new Promise((resolve) => socket.once('data', resolve));
  socket.write(Buffer.concat([Buffer.from([0, 0, 0, 3]), encodeOption(Option.STARTTLS)]));
  await new Promise((resolve) => socket.once('data', resolve));
  expect(listener.connectionCount).toBe(1);
  socket.end();
  await expect.poll(() => listener.connectionCount).toBe(0);
});

test('a client that reads slowly gets every byte of every reply', async () => {
  const { connect: newClient } = await serve('required');
  const client = await newClient();
  await client.greet();
  await client.startTls(trusting());
  client.option(Option.STRUCTURED_REPLY);
  await client.replies();
  client.option(Option.GO, infoData('disk'));
  await client.replies();
  const content = randomBytes(DISK_BYTES);
  client.request({ command: Command.WRITE, payload: content });
  expect(await client.structuredError()).toBe(0);
  client.pause();
  // Of all sizes: several fit into one piece of the output, or one into several.
  const lengths = Array.from({ length: 400 }, (_, i) => 1 + ((i * 7919) % (300 * KIB)));
  for (const [i, length] of lengths.entries()) {
    client.request({ command: Command.READ, cookie: BigInt(i), offset: DISK_BYTES - length, length });
  }
  client.resume();
  for (const [i, length] of lengths.entries()) {
    const chunks = await client.chunks();
    expect(chunks[0]!.cookie).toBe(BigInt(i));
    const data = Buffer.concat(chunks.map(({ payload }) => payload.subarray(8)));
    expect(data.equals(content.subarray(DISK_BYTES - length))).toBe(true);
  }
});

test('requests of all sizes, each in records of its own, are served in order and answered together', async () => {
  const { connect: newClient } = await serve('required');
  const client = await newClient();
  await client.greet();
  await client.startTls(trusting());
  client.option(Option.GO, infoData('disk'));
  await client.replies();
  const content = randomBytes(DISK_BYTES);
  const sizes = Array.from({ length: 60 }, (_, i) => [28, 512, 20_000, 256 * KIB, 300 * KIB][i % 5]!);
  const writes = sizes.map((length, i) => ({ length, offset: (i * 7919 * 512) % (DISK_BYTES - length) }));
  const expected = Buffer.alloc(DISK_BYTES);
  for (const [i, { length, offset }] of writes.entries()) {
    const payload = content.subarray(offset, offset + length);
    payload.copy(expected, offset);
    client.request({ command: Command.WRITE, cookie: BigInt(i), offset, payload });
  }
  for (const i of writes.keys()) expect(await client.simpleReply()).toMatchObject({ error: 0, cookie: BigInt(i) });
  client.request({ command: Command.READ, length: DISK_BYTES });
  const { error, data } = await client.simpleReply(DISK_BYTES);
  expect([error, data.equals(expected)]).toEqual([0, true]);
});
