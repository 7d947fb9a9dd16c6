import { describe, expect, test } from 'vitest';
import { Access, Policy } from '../../src/access/access.js';
import type { Identity } from '../../src/access/identity.js';
import { SeenExports } from '../../src/export/seen-exports.js';
import { View } from '../../src/export/view.js';
import * as nbd from '../../src/protocol/constants.js';
import { Handshake } from '../../src/session/handshake.js';
import { rulesOf } from '../support/access-rules.js';
import { serveKnownClients } from '../support/known-client.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';
import { counted, encodeOption, infoData, metaData, u32 } from '../support/raw-client.js';
import { receivedBytes } from '../support/received-bytes.js';

const { Option, OptionError, OptionReply } = nbd;
const READ_ONLY = nbd.TransmissionFlag.READ_ONLY;
const flags = u32(nbd.HandshakeFlag.FIXED_NEWSTYLE | nbd.HandshakeFlag.NO_ZEROES);
const EPERM = 1;

/** A client of a network who has proved who he is. */
const client: Identity = {
  over: 'nbd',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  certificate: { dn: 'CN=backup1', commonName: 'backup1', names: [], serial: '01' },
};

/** A server with the exports that a test names, and a view `a@1` of the first of them. */
async function registryOf(...names: string[]) {
  const registry = await memoryRegistry(names.map((name) => ({ name, bitmaps: ['nightly'] })));
  if (names.includes('a')) {
    const exported = registry.get('a');
    const { minBlockBytes } = exported;
    const device = new MemoryDevice(DISK_BYTES);
    registry.addView(new View({ name: 'a@1', exported, description: '', minBlockBytes, device, contexts: [] }));
  }
  return registry;
}

interface Said {
  /** What the server sent. */
  readonly bytes: Buffer;
  readonly replies: { readonly option: number; readonly type: number; readonly data: Buffer }[];
  readonly outcome: Handshake['outcome'];
}

/** What a server with these exports answers to a client who has these rights. */
async function haggle(names: string[], specs: string[], ...options: Buffer[]): Promise<Said> {
  const exports = new SeenExports(await registryOf(...names), new Access(new Policy(rulesOf(...specs)), client));
  const sent: Buffer[] = [];
  const output = { hasRoom: true, send: (bytes: Buffer) => void sent.push(Buffer.from(bytes)) };
  const handshake = new Handshake(exports, output, { multipleConnections: true, tls: 'none' });
  const input = receivedBytes(Buffer.concat([flags, ...options]));
  do handshake.consume(input);
  while (handshake.answering);
  const bytes = Buffer.concat(sent);
  const replies: Said['replies'] = [];
  for (let at = 0; at + 20 <= bytes.length && bytes.readUInt32BE(at) === 0x0003e889; ) {
    const [option, type, length] = [8, 12, 16].map((offset) => bytes.readUInt32BE(at + offset)) as [
      number,
      number,
      number,
    ];
    replies.push({ option, type, data: bytes.subarray(at + 20, at + 20 + length) });
    at += 20 + length;
  }
  return { bytes, replies, outcome: handshake.outcome };
}

const go = (name: string) => encodeOption(Option.GO, infoData(name));
const info = (name: string) => encodeOption(Option.INFO, infoData(name));
const structured = encodeOption(Option.STRUCTURED_REPLY);
const listContexts = (name: string) => encodeOption(Option.LIST_META_CONTEXT, metaData(name, []));
const setContexts = (name: string) => encodeOption(Option.SET_META_CONTEXT, metaData(name, ['base:allocation']));
const list = encodeOption(Option.LIST);
const exportName = (name: string) => encodeOption(Option.EXPORT_NAME, Buffer.from(name));

/** The name is as long as the one that is hidden, so that all lengths are the same. */
const questions: [string, (name: string) => Buffer[]][] = [
  ['LIST', () => [list]],
  ['INFO', (name) => [info(name)]],
  ['INFO of everything', (name) => [encodeOption(Option.INFO, infoData(name, [1, 2, 3, 9]))]],
  ['GO', (name) => [go(name)]],
  ['EXPORT_NAME', (name) => [exportName(name)]],
  ['LIST_META_CONTEXT', (name) => [structured, listContexts(name)]],
  ['SET_META_CONTEXT', (name) => [structured, setContexts(name)]],
  ['the default export', () => [go('')]],
  ['the default export by EXPORT_NAME', () => [exportName('')]],
  ['a view', (name) => [info(`${name}@1`), structured, listContexts(`${name}@1`), go(`${name}@1`)]],
  ['a malformed INFO', (name) => [encodeOption(Option.INFO, counted(name))]],
  ['more options than allowed', () => [list, ...Array.from({ length: 70 }, () => structured)]],
];

describe('an export that a client may not see is answered like one that does not exist, byte for byte', () => {
  test.each(questions)('%s', async (_what, ask) => {
    for (const specs of [[], ['any,exports=b,rights=admin'], ['cn:other,rights=admin'], ['local,rights=admin']]) {
      const hidden = await haggle(['a', 'b'], specs, ...ask('a'));
      const missing = await haggle(['b'], specs, ...ask('a'));
      expect(hidden.bytes.toString('latin1'), specs.join()).toBe(missing.bytes.toString('latin1'));
      // An agreement is about objects of one server or the other.
      const kind = ({ outcome }: Said) => (outcome && 'agreement' in outcome ? outcome.agreement.export.name : outcome);
      expect(kind(hidden)).toEqual(kind(missing));
    }
  });

  test('the questions have other answers for those who may see it', async () => {
    for (const [what, ask] of questions.filter(([name]) => name !== 'a malformed INFO')) {
      const seen = await haggle(['a', 'b'], ['any,rights=admin'], ...ask('a'));
      const missing = await haggle(['b'], ['any,rights=admin'], ...ask('a'));
      const same = seen.bytes.equals(missing.bytes) && JSON.stringify(seen.outcome) === JSON.stringify(missing.outcome);
      expect(same, what).toBe(false);
    }
  });
});

test('the default export is the only one that the client sees', async () => {
  const { outcome } = await haggle(['a', 'b'], ['any,exports=b'], go(''));
  expect(outcome).toMatchObject({ agreement: { export: { name: 'b' } } });
});

test('with list alone, a client sees the export but cannot use it', async () => {
  const rule = ['any,rights=list'];
  const types = async (...options: Buffer[]) => (await haggle(['a'], rule, ...options)).replies.map(({ type }) => type);
  expect(await types(list)).toEqual([OptionReply.SERVER, OptionReply.ACK]);
  expect(await types(info('a'))).toEqual([OptionReply.INFO, OptionReply.ACK]);
  expect(await types(go('a'))).toEqual([OptionError.POLICY]);
  expect(await types(structured, listContexts('a'))).toEqual([OptionReply.ACK, OptionError.POLICY]);
  expect(await types(structured, setContexts('a'))).toEqual([OptionReply.ACK, OptionError.POLICY]);
  const refused = await haggle(['a'], rule, exportName('a'));
  expect(refused.bytes).toHaveLength(0);
  expect(refused.outcome).toEqual({
    closeReason: 'EXPORT_NAME was refused: CN=backup1 (10.0.0.7) may not read "a"',
  });
  expect((await haggle(['a'], rule, go('a'))).replies[0]!.data.toString()).toBe(
    'CN=backup1 (10.0.0.7) may not read "a"',
  );
});

test.each([
  ['list', true],
  ['read', true],
  ['backup', true],
  ['write', false],
  ['admin', false],
])('INFO tells a client with the right %s that the export is read-only: %s', async (right, isReadOnly) => {
  const { replies } = await haggle(['a'], [`any,rights=${right}`], info('a'));
  expect((replies[0]!.data.readUInt16BE(10) & READ_ONLY) !== 0).toBe(isReadOnly);
});

test.each([
  ['list', false],
  ['read', false],
  ['write', false],
  ['backup', true],
  ['admin', true],
])('a client with the right %s can use a view: %s', async (right, canUse) => {
  const { outcome, replies } = await haggle(['a'], [`any,rights=${right}`], go('a@1'));
  expect(outcome !== undefined).toBe(canUse);
  if (!canUse) expect(replies[0]!.type).toBe(OptionError.UNKNOWN);
});

test('backup does not let a client read the live disk', async () => {
  const { outcome, replies } = await haggle(['a'], ['any,rights=backup'], go('a'));
  expect(outcome).toBeUndefined();
  expect(replies.map(({ type }) => type)).toEqual([OptionError.POLICY]);
});

test('an earlier selection of contexts is gone after one of an export that the client may not see or read', async () => {
  for (const specs of [['any,exports=b'], ['any,exports=b', 'any,exports=a,rights=list']]) {
    const { outcome } = await haggle(['a', 'b'], specs, structured, setContexts('b'), setContexts('a'), go('b'));
    expect(outcome).toMatchObject({ agreement: { contexts: [] } });
  }
});

test('a client without the right to write gets EPERM for everything that changes the disk, and reads on', async () => {
  const device = new MemoryDevice(DISK_BYTES);
  const exports = await memoryRegistry([{ name: 'a', device }]);
  const { connectAs } = await serveKnownClients(exports, rulesOf('any,rights=read'));
  const reader = await connectAs(client);
  expect((await reader.go('a', { structured: false })) & READ_ONLY).toBe(READ_ONLY);
  const { Command } = nbd;
  for (const command of [Command.WRITE, Command.TRIM, Command.WRITE_ZEROES]) {
    const payload = command === Command.WRITE ? Buffer.alloc(512, 7) : Buffer.alloc(0);
    reader.request({ command, cookie: BigInt(command), length: 512, payload });
    expect(await reader.simpleReply()).toMatchObject({ cookie: BigInt(command), error: EPERM });
  }
  reader.request({ command: Command.READ, cookie: 77n, length: 512 });
  expect(await reader.simpleReply(512)).toMatchObject({ cookie: 77n, error: 0, data: Buffer.alloc(512) });
});
