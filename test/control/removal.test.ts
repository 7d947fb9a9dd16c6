import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, onTestFinished, test } from 'vitest';
import { Command, Option, OptionError } from '../../src/protocol/constants.js';
import { controlApiOver } from '../support/control-api.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, startMemoryServer } from '../support/memory-server.js';
import { encodeOption, infoData } from '../support/raw-client.js';

/** Serves the export "disk" over NBD and the control API, on a device that can be held back. */
async function serve() {
  const memory = new MemoryDevice(DISK_BYTES);
  const device = new FaultyDevice(memory);
  const server = await startMemoryServer([{ name: 'disk', device, bitmaps: ['nightly'] }]);
  const { api, ask, events } = await controlApiOver(server.exports);
  const connect = async () => {
    const client = await server.connect();
    await client.go('disk', { structured: false });
    return client;
  };
  const served = server.exports.get('disk');
  const heard: string[] = [];
  events.follow(({ type }) => void heard.push(type));
  /** The id and address of a client, as soon as the server knows it. */
  const clients = async () =>
    (await ask('GET', '/v1/clients')).document as { clients: { id: number; client: string }[] };
  return { server, memory, device, api, ask, connect, served, heard, clients };
}

test('an export with clients is not removed, and the error names the clients', async () => {
  const { ask, connect, clients, served, heard } = await serve();
  const [one, two] = [await connect(), await connect()];
  const ids = (await clients()).clients.map(({ id }) => id);
  const answer = await ask('DELETE', '/v1/exports/disk');
  expect(answer).toMatchObject({ status: 409, document: { code: 'EXPORT_IN_USE' } });
  expect(answer.document).toMatchObject({ detail: `"disk" has 2 clients: ${ids[0]} (unix), ${ids[1]} (unix)` });
  for (const client of [one, two]) {
    client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
    expect((await client.simpleReply()).error).toBe(0);
  }
  expect(served.clientCount).toBe(2);
  expect(heard).toEqual([]);
  await connect();
});

test('a removal that waits is answered, even if garbage is collected meanwhile', async () => {
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;
  const { ask, connect } = await serve();
  await connect();
  const collector = setInterval(collectGarbage, 50);
  onTestFinished(() => clearInterval(collector));
  expect((await ask('DELETE', '/v1/exports/disk')).status).toBe(409);
});

test('a client that has said goodbye does not prevent a removal', async () => {
  const { ask, connect, heard } = await serve();
  const client = await connect();
  client.request({ command: Command.DISC });
  expect((await ask('DELETE', '/v1/exports/disk')).status).toBe(204);
  expect(heard).toEqual(['export-removed']);
});

test('a drain waits for the clients, and refuses new ones', async () => {
  const { server, ask, connect, served } = await serve();
  const client = await connect();
  const removed = ask('DELETE', '/v1/exports/disk?drain=3600');
  await expect.poll(() => served.admits).toBe(false);
  const late = await server.connect();
  await late.greet();
  late.send(encodeOption(Option.GO, infoData('disk')));
  expect(await late.reply()).toMatchObject({ type: OptionError.UNKNOWN });
  client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
  expect((await client.simpleReply()).error).toBe(0);
  client.request({ command: Command.DISC });
  expect((await removed).status).toBe(204);
});

test('a drain that takes too long is refused, and new clients are accepted again', async () => {
  const { ask, connect, served } = await serve();
  const client = await connect();
  expect(await ask('DELETE', '/v1/exports/disk?drain=0')).toMatchObject({
    status: 409,
    document: { code: 'EXPORT_IN_USE', detail: expect.stringContaining('"disk" has 1 client: ') },
  });
  await connect();
  client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
  expect((await client.simpleReply()).error).toBe(0);
  expect(served.clientCount).toBe(2);
});

test('a drain ends when the server stops', async () => {
  const { api, ask, connect, served } = await serve();
  await connect();
  const removed = ask('DELETE', '/v1/exports/disk?drain=3600');
  await expect.poll(() => served.admits).toBe(false);
  await api.close();
  expect(await removed).toMatchObject({ status: 503, document: { code: 'SHUTTING_DOWN' } });
  expect(served.admits).toBe(true);
});

test.each(['/v1/exports/disk?force=true', '/v1/exports/disk?force=true&drain=0'])(
  '%s finishes what clients have begun, and disconnects them',
  async (url) => {
    const { ask, connect, device, memory } = await serve();
    const client = await connect();
    device.hold();
    client.request({ command: Command.WRITE, payload: Buffer.alloc(512, 7) });
    await expect.poll(() => device.heldCalls).toBeGreaterThan(0);
    const removed = ask('DELETE', url);
    device.release();
    expect((await client.simpleReply()).error).toBe(0);
    expect((await removed).status).toBe(204);
    expect(await client.rest()).toHaveLength(0);
    const written = Buffer.alloc(512);
    memory.readNow(written, 0, 512, 0);
    expect(written).toEqual(Buffer.alloc(512, 7));
  },
);

test('clients are listed with the export or view they use, and can be disconnected one by one', async () => {
  const { ask, connect, clients, served } = await serve();
  const [one, two] = [await connect(), await connect()];
  one.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
  await one.simpleReply();
  const listed = (await clients()).clients;
  const common = { client: 'unix', export: 'disk', tls: 'none', connectedAt: expect.any(String), failedRequests: 0 };
  expect(listed).toEqual([
    { ...common, id: expect.any(Number), requests: 1, bytesRead: 0, bytesWritten: 512 },
    { ...common, id: expect.any(Number), requests: 0, bytesRead: 0, bytesWritten: 0 },
  ]);
  expect(listed[0]!.id).not.toBe(listed[1]!.id);
  expect((await ask('DELETE', `/v1/clients/${listed[0]!.id}`)).status).toBe(204);
  expect(await one.rest()).toHaveLength(0);
  expect(served.clientCount).toBe(1);
  two.request({ command: Command.WRITE, payload: Buffer.alloc(512, 1) });
  expect((await two.simpleReply()).error).toBe(0);
  expect(await ask('DELETE', `/v1/clients/${listed[0]!.id}`)).toMatchObject({
    status: 404,
    document: { code: 'CLIENT_NOT_FOUND', detail: `there is no client ${listed[0]!.id}` },
  });
});

test.each(['drain=1.5', 'drain=-1', 'drain=86401', 'drain=x', 'wait=1'])('%s is refused', async (query) => {
  const { ask, served } = await serve();
  expect((await ask('DELETE', `/v1/exports/disk?${query}`)).status).toBe(400);
  expect(served.admits).toBe(true);
});
