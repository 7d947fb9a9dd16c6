import { expect, test } from 'vitest';
import { MIB } from '../../src/base/units.js';
import * as nbd from '../../src/protocol/constants.js';
import { startMemoryServer } from '../support/memory-server.js';
import { counted, infoData, metaData, type RawClient, u32 } from '../support/raw-client.js';

const { Option, OptionError, OptionReply } = nbd;
const ALL = ['base:allocation', 'qemu:allocation-depth', 'qemu:dirty-bitmap:hourly', 'qemu:dirty-bitmap:nightly'];

async function haggling({ structured = true } = {}) {
  const server = await startMemoryServer([
    { name: 'disk', bitmaps: ['hourly', 'nightly'] },
    { name: 'other', bitmaps: ['nightly'] },
  ]);
  const client = await server.connect();
  await client.greet();
  if (structured) {
    client.option(Option.STRUCTURED_REPLY);
    await client.replies();
  }
  return client;
}

async function ask(client: RawClient, option: number, data: Buffer) {
  client.option(option, data);
  const replies = await client.replies();
  const contexts = replies.filter(({ type }) => type === OptionReply.META_CONTEXT);
  return {
    last: replies.at(-1)!.type,
    ids: contexts.map(({ data: context }) => context.readUInt32BE(0)),
    names: contexts.map(({ data: context }) => context.subarray(4).toString()),
  };
}

const list = (client: RawClient, queries: string[], name = 'disk') =>
  ask(client, Option.LIST_META_CONTEXT, metaData(name, queries));
const set = (client: RawClient, queries: string[], name = 'disk') =>
  ask(client, Option.SET_META_CONTEXT, metaData(name, queries));

test('1.2 LIST_META_CONTEXT without queries returns everything, with id 0', async () => {
  const client = await haggling();
  expect(await list(client, [])).toEqual({ last: OptionReply.ACK, ids: [0, 0, 0, 0], names: ALL });
});

test('1.2 LIST_META_CONTEXT may be used before structured replies', async () => {
  const client = await haggling({ structured: false });
  expect((await list(client, [])).names).toEqual(ALL);
});

test.each([
  ['base:', ['base:allocation']],
  ['qemu:', ALL.slice(1)],
  ['qemu:dirty-bitmap:', ALL.slice(2)],
  ['qemu:dirty-bitmap:nightly', ['qemu:dirty-bitmap:nightly']],
  ['qemu:dirty-bitmap:night', []],
  ['qemu:allocation-depth', ['qemu:allocation-depth']],
  ['qemu:joint-allocation', []],
  ['tidemark:', []],
  ['tidemark:overwritten', []],
  ['unknown:', []],
  ['', []],
])('1.2 LIST_META_CONTEXT for "%s" lists %j', async (query, names) => {
  const client = await haggling();
  expect(await list(client, [query])).toMatchObject({ last: OptionReply.ACK, names });
});

test.each(['base:', 'qemu:', 'qemu:dirty-bitmap:'])('1.2 SET_META_CONTEXT ignores the wildcard "%s"', async (query) => {
  const client = await haggling();
  expect(await set(client, [query])).toEqual({ last: OptionReply.ACK, ids: [], names: [] });
});

test('1.2 SET_META_CONTEXT gives each context an id of its own, once', async () => {
  const client = await haggling();
  const chosen = await set(client, ['qemu:dirty-bitmap:nightly', 'base:allocation', 'qemu:dirty-bitmap:nightly']);
  expect(chosen.names).toEqual(['qemu:dirty-bitmap:nightly', 'base:allocation']);
  expect(new Set(chosen.ids).size).toBe(2);
});

test.each([
  ['LIST_META_CONTEXT', Option.LIST_META_CONTEXT],
  ['SET_META_CONTEXT', Option.SET_META_CONTEXT],
])('1.2 %s with more than 1024 queries is TOO_BIG, and the handshake continues', async (_name, option) => {
  const client = await haggling();
  const most = Array.from({ length: 1024 }, () => 'base:allocation');
  expect((await ask(client, option, metaData('disk', most))).names).toEqual(['base:allocation']);
  expect(await ask(client, option, metaData('disk', [...most, '']))).toMatchObject({ last: OptionError.TOO_BIG });
  expect((await list(client, [])).names).toEqual(ALL);
});

test('1.2 SET_META_CONTEXT needs structured replies', async () => {
  const client = await haggling({ structured: false });
  expect((await set(client, ['base:allocation'])).last).toBe(OptionError.INVALID);
});

test('1.2 both options answer ERR_UNKNOWN for an unknown export', async () => {
  const client = await haggling();
  expect((await list(client, [], 'nowhere')).last).toBe(OptionError.UNKNOWN);
  expect((await set(client, [], 'nowhere')).last).toBe(OptionError.UNKNOWN);
});

test.each([
  ['no data', Buffer.alloc(0)],
  ['no count of queries', counted('disk')],
  ['fewer queries than counted', Buffer.concat([counted('disk'), u32(2), counted('base:')])],
  ['a query longer than the option', Buffer.concat([counted('disk'), u32(1), u32(99), Buffer.from('base:')])],
  ['data behind the last query', Buffer.concat([metaData('disk', ['base:']), Buffer.from('!')])],
])('1.2 SET_META_CONTEXT with %s is invalid, and the handshake continues', async (_what, data) => {
  const client = await haggling();
  expect((await ask(client, Option.SET_META_CONTEXT, data)).last).toBe(OptionError.INVALID);
  expect((await set(client, ['base:allocation'])).last).toBe(OptionReply.ACK);
});

test('1.2 a query that is too long is ignored, and is not an error', async () => {
  const client = await haggling();
  expect((await set(client, ['x'.repeat(5000), 'base:allocation'])).names).toEqual(['base:allocation']);
});

/** Sends these SET_META_CONTEXTs, starts transmission and asks for block status. Returns the error, or 0. */
async function statusAfter(client: RawClient, goName: string): Promise<number> {
  client.option(Option.GO, Buffer.concat([counted(goName), Buffer.alloc(2)]));
  await client.replies();
  client.request({ command: nbd.Command.BLOCK_STATUS, length: 512 });
  return client.structuredError();
}

test('1.2 a selection applies to the export that it names', async () => {
  const client = await haggling();
  await set(client, ['base:allocation']);
  expect(await statusAfter(client, 'disk')).toBe(0);
});

test('1.2 a selection is dropped when GO names another export', async () => {
  const client = await haggling();
  await set(client, ['base:allocation']);
  expect(await statusAfter(client, 'other')).toBe(nbd.NbdError.EINVAL);
});

test('1.2 a later SET_META_CONTEXT replaces the selection, even with nothing', async () => {
  const client = await haggling();
  await set(client, ['base:allocation']);
  await set(client, []);
  expect(await statusAfter(client, 'disk')).toBe(nbd.NbdError.EINVAL);
});

test('1.2 a SET_META_CONTEXT that fails still removes the selection', async () => {
  const client = await haggling();
  await set(client, ['base:allocation']);
  await set(client, ['base:allocation'], 'nowhere');
  expect(await statusAfter(client, 'disk')).toBe(nbd.NbdError.EINVAL);
});

test.each(['disk', ''])(
  '1.2 contexts of an export that has since been replaced are dropped (name "%s")',
  async (name) => {
    const server = await startMemoryServer([{ name: 'disk', bitmaps: ['nightly'] }]);
    const client = await server.connect();
    await client.greet();
    client.option(Option.STRUCTURED_REPLY);
    await client.replies();
    expect((await set(client, ['base:allocation', 'qemu:dirty-bitmap:nightly'], name)).ids).toEqual([1, 2]);
    await server.exports.remove('disk');
    await server.exports.add({ name: 'disk', path: 'memory' });
    client.option(Option.GO, infoData(name));
    await client.replies();
    client.request({ command: nbd.Command.BLOCK_STATUS, length: 512 });
    expect(await client.structuredError()).toBe(nbd.NbdError.EINVAL);
  },
);

test('1.2 a SET_META_CONTEXT that is too big still removes the selection', async () => {
  const client = await haggling();
  await set(client, ['base:allocation']);
  expect((await ask(client, Option.SET_META_CONTEXT, Buffer.alloc(2 * MIB))).last).toBe(OptionError.TOO_BIG);
  client.option(Option.GO, infoData('disk'));
  await client.replies();
  client.request({ command: nbd.Command.BLOCK_STATUS, length: 512 });
  expect(await client.structuredError()).toBe(nbd.NbdError.EINVAL);
});
