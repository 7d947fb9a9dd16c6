import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { httpLimits } from '../../src/control/http-server.js';
import { controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { dial } from '../support/raw-peer.js';
import { scratchFolder } from '../support/scratch-folder.js';

const LONG = 3_600_000;
/** Nothing times out, unless a test lowers a limit. */
const patient = {
  ...httpLimits,
  headersMilliseconds: LONG,
  requestMilliseconds: LONG,
  idleMilliseconds: LONG,
  unreadMilliseconds: LONG,
};

/** The control API on a unix socket and on TCP, where the token is `s3cret`. */
async function startControl(limits: Partial<typeof httpLimits>) {
  const host = await controlHostOver(await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]));
  const control = new ControlServer(host, 50, { ...patient, ...limits });
  onTestFinished(() => control.close());
  const path = join(scratchFolder(), 'control.sock');
  await control.listenUnix(path);
  const { port } = await control.listenTcp({ host: '127.0.0.1', port: 0, token: 's3cret', tls: undefined });
  return { path, tcp: { host: '127.0.0.1', port }, unix: { path } };
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer s3cret\r\n\r\n`;

/** Whether a client at the address gets an answer, instead of being disconnected. */
async function isServed(address: Parameters<typeof dial>[0]): Promise<boolean> {
  const client = dial(address);
  client.socket.write(get('/healthz'));
  await Promise.race([client.closed, vi.waitUntil(() => client.text() !== '', { timeout: 10_000 })]);
  return client.text().startsWith('HTTP/1.1 200 ');
}

test('the server hangs up on connections above the limit of an address, followers of events included', async () => {
  const { tcp, unix } = await startControl({ maxConnections: 2 });
  const [follower, silent] = [dial(tcp), dial(tcp)];
  follower.socket.write(get('/v1/events'));
  silent.socket.write(get('/healthz'));
  await vi.waitUntil(() => follower.text().includes(': following') && silent.text() !== '', { timeout: 10_000 });
  expect(await isServed(tcp)).toBe(false);
  // The other address still accepts connections.
  expect(await isServed(unix)).toBe(true);
  follower.socket.destroy();
  await vi.waitUntil(() => isServed(tcp), { timeout: 10_000 });
});

test('the server hangs up on a client that sends nothing, or does not finish its headers', async () => {
  const { tcp } = await startControl({ headersMilliseconds: 100 });
  const [silent, slow] = [dial(tcp), dial(tcp)];
  slow.socket.write('GET /healthz HTTP/1.1\r\nhost: ');
  await Promise.all([silent.closed, slow.closed]);
});

test('the server gives up on a body that does not arrive, even if the token was right', async () => {
  const { tcp } = await startControl({ headersMilliseconds: 50, requestMilliseconds: 100 });
  const { socket, closed } = dial(tcp);
  const headers = 'authorization: Bearer s3cret\r\ncontent-type: application/json\r\ncontent-length: 100';
  socket.write(`POST /v1/transactions HTTP/1.1\r\nhost: 127.0.0.1\r\n${headers}\r\n\r\n{`);
  await closed;
});

test('an idle connection is closed', async () => {
  const { tcp } = await startControl({ idleMilliseconds: 50 });
  const { socket, text, closed } = dial(tcp);
  socket.write(get('/healthz'));
  await closed;
  expect(text()).toMatch(/^HTTP\/1\.1 200 /);
});

test('the server hangs up on a client that does not read its answers', async () => {
  const { tcp } = await startControl({ maxConnections: 1, unreadMilliseconds: 100 });
  const { socket } = dial(tcp);
  socket.pause();
  await new Promise((resolve) => socket.once('connect', resolve));
  // More answers than the kernel buffers.
  socket.write(get('/openapi.json').repeat(1000));
  await vi.waitUntil(() => isServed(tcp), { timeout: 30_000 });
});
