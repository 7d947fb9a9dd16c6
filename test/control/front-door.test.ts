import { createServer } from 'node:http';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { connect } from 'node:tls';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { Refusals } from '../../src/access/refusals.js';
import { FrontDoor } from '../../src/control/admission/front-door.js';
import { TlsDoor } from '../../src/tls/door.js';
import { loadServerTls } from '../../src/tls/tls-settings.js';
import { askHttps, startHttps, withToken } from '../support/https-scene.js';
import { keepLog } from '../support/log-lines.js';
import { dial } from '../support/raw-peer.js';
import { TestAuthority } from '../support/tls-files.js';

const get = 'GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n';
const OK = /^HTTP\/1\.1 200 /;

test('one port speaks HTTP and HTTPS', async () => {
  const { port, authority } = await startHttps();
  expect(await askHttps({ port, ca: authority.certificate, ...withToken })).toMatchObject({ status: 200 });
  expect(await askHttps({ port, protocol: 'http:', ...withToken })).toMatchObject({ status: 200 });
});

test('where TLS is required, HTTP gets no answer, and the log says why', async () => {
  const { port, authority, refusals } = await startHttps({ isRequired: true });
  expect(await askHttps({ port, ca: authority.certificate, ...withToken })).toMatchObject({ status: 200 });
  await expect(askHttps({ port, protocol: 'http:', ...withToken })).rejects.toThrow();
  const peer = dial({ host: '127.0.0.1', port });
  peer.socket.write(get);
  await peer.closed;
  expect(peer.text()).not.toContain('HTTP');
  expect(refusals()).toEqual(['refused a TLS handshake: the client did not speak TLS']);
});

test.each(['HTTP', 'HTTPS'])('%s that comes byte by byte is understood', async (kind) => {
  const { port, authority } = await startHttps();
  const raw = connectTcp({ host: '127.0.0.1', port, noDelay: true });
  onTestFinished(() => void raw.destroy());
  const socket =
    kind === 'HTTP' ? raw : connect({ socket: slowed(raw), ca: authority.certificate, servername: 'localhost' });
  let text = '';
  socket.on('data', (part) => {
    text += part;
  });
  if (kind === 'HTTP') for (const letter of get) await writeAlone(raw, letter);
  else socket.write(get);
  await vi.waitUntil(() => OK.test(text), { timeout: 10_000 });
});

test.each(['http:', 'https:'] as const)('a large request in few pieces is understood over %s', async (protocol) => {
  const { port, authority } = await startHttps();
  const actions = Array.from({ length: 900 }, (_, i) => ({
    type: 'bitmap-clear',
    export: 'disk',
    bitmap: `${i}`.repeat(99),
  }));
  const answer = await askHttps({
    ...{ port, protocol, ca: authority.certificate, method: 'POST', path: '/v1/transactions' },
    ...{ headers: withToken.headers, body: { actions } },
  });
  expect(answer).toMatchObject({ status: 404, document: { code: 'BITMAP_NOT_FOUND', failedAction: 0 } });
});

test.each(['http:', 'https:'] as const)('several requests on one connection are answered over %s', async (protocol) => {
  const { port, authority } = await startHttps();
  const raw = dial({ host: '127.0.0.1', port });
  const socket =
    protocol === 'http:'
      ? raw.socket
      : connect({ socket: raw.socket, ca: authority.certificate, servername: 'localhost' });
  let text = '';
  socket.on('data', (part) => {
    text += part;
  });
  for (let i = 1; i <= 3; i++) {
    socket.write(get.repeat(2));
    await vi.waitUntil(() => text.split('HTTP/1.1 200 ').length === 2 * i + 1, { timeout: 10_000 });
  }
});

describe('the server hangs up on a client that', () => {
  const limits = { headersMilliseconds: 150 };

  test.each([true, false])('sends nothing (TLS required: %s)', async (isRequired) => {
    const { port } = await startHttps({ isRequired, limits });
    await dial({ host: '127.0.0.1', port }).closed;
  });

  test.each([true, false])('does not finish the TLS handshake (TLS required: %s)', async (isRequired) => {
    const { port, refusals } = await startHttps({ isRequired, limits });
    const peer = dial({ host: '127.0.0.1', port });
    peer.socket.write(Buffer.from('1603010100', 'hex'));
    await peer.closed;
    expect(refusals()).toEqual(['refused a TLS handshake: the client did not finish the handshake in time']);
  });

  test('does not finish its headers, behind TLS', async () => {
    const { port, authority } = await startHttps({ limits });
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
    socket.on('error', () => {});
    socket.write('GET /healthz HTTP/1.1\r\nhost: ');
    await new Promise((resolve) => socket.resume().once('close', resolve));
  });

  test('is idle, behind TLS', async () => {
    const { port, authority } = await startHttps({ limits: { idleMilliseconds: 50 } });
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
    let text = '';
    socket.on('data', (part) => {
      text += part;
    });
    socket.write(get);
    await new Promise((resolve) => socket.once('close', resolve));
    expect(text).toMatch(OK);
  });

  test('does not read its answers, behind TLS', async () => {
    const { port, authority } = await startHttps({ limits: { maxConnections: 1, unreadMilliseconds: 100 } });
    const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
    onTestFinished(() => void socket.destroy());
    socket.on('error', () => {}).pause();
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const one = `GET /openapi.json HTTP/1.1\r\nhost: a\r\nauthorization: ${withToken.headers.authorization}\r\n\r\n`;
    socket.write(one.repeat(1000));
    const isServed = () =>
      askHttps({ port, ca: authority.certificate, ...withToken }).then(
        () => true,
        () => false,
      );
    await vi.waitUntil(isServed, { timeout: 30_000 });
  });
});

test('clients in the handshake count as connections', async () => {
  const { port, authority } = await startHttps({ limits: { maxConnections: 2 } });
  const ask = () => askHttps({ port, ca: authority.certificate, ...withToken });
  const [silent, half] = [dial({ host: '127.0.0.1', port }), dial({ host: '127.0.0.1', port })];
  half.socket.write(Buffer.from('1603010100', 'hex'));
  await delay(100);
  await expect(ask()).rejects.toThrow();
  silent.socket.destroy();
  await vi.waitUntil(
    () =>
      ask().then(
        () => true,
        () => false,
      ),
    { timeout: 10_000 },
  );
});

test('the end of the server does not wait for clients that have not asked for anything', async () => {
  const { port, control, authority } = await startHttps({ patienceMilliseconds: 60_000 });
  const [silent, half] = [dial({ host: '127.0.0.1', port }), dial({ host: '127.0.0.1', port })];
  half.socket.write(Buffer.from('1603010100', 'hex'));
  const idle = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
  idle.on('error', () => {});
  let text = '';
  idle.on('data', (part) => {
    text += part;
  });
  idle.write(get);
  await vi.waitUntil(() => OK.test(text), { timeout: 10_000 });
  await control.close();
  await Promise.all([silent.closed, half.closed, new Promise((resolve) => idle.once('close', resolve))]);
});

test('the server finally hangs up on clients with TLS that do not finish a request', async () => {
  const { port, control, authority } = await startHttps({ patienceMilliseconds: 50 });
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
  socket.on('error', () => {});
  socket.write('GET /healthz HTTP/1.1\r\nhost: ');
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  await delay(50);
  await control.close();
});

/** An HTTP server behind a front door, to which all clients seem to come from `address`. */
async function serveTo(address: string, isRequired = false) {
  const authority = await TestAuthority.create();
  const { log, lines } = keepLog();
  const server = createServer((_request, answer) => answer.end('hello'));
  const settings = await loadServerTls({ certificates: await authority.serverFolder() });
  const door = new TlsDoor(settings, 10_000);
  const proofs = new WeakMap();
  new FrontDoor(server, { door, isRequired, proofs, firstByteMilliseconds: 10_000, refusals: new Refusals(log) });
  server.prependListener('connection', (socket: Socket) =>
    Object.defineProperty(socket, 'remoteAddress', { value: address }),
  );
  await new Promise<void>((resolve) => server.listen({ host: '127.0.0.1', port: 0 }, resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return { port, authority, lines };
}

test.each(['192.0.2.7', '2001:db8::7', 'fe80::7%eth0', '::ffff:192.0.2.7'])(
  'plain HTTP from another machine, %s, gets no answer',
  async (address) => {
    const { port, authority, lines } = await serveTo(address);
    await expect(askHttps({ port, protocol: 'http:' })).rejects.toThrow();
    expect(lines).toEqual([
      {
        level: 'warn',
        message: 'refused a client: it did not use TLS',
        fields: {
          client: address.replace('::ffff:', '').replace('%eth0', ''),
          ...{ attempt: 'tls', reason: 'it did not use TLS', sinceLast: 0 },
        },
      },
    ]);
    expect(await askHttps({ port, ca: authority.certificate })).toMatchObject({ status: 200, document: 'hello' });
  },
);

test.each(['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1'])('plain HTTP from %s is served', async (address) => {
  const { port } = await serveTo(address);
  expect(await askHttps({ port, protocol: 'http:' })).toMatchObject({ status: 200 });
});

test('HTTP in front of a TLS handshake on the same connection never reaches TLS, nor the other way round', async () => {
  const { port, refusals } = await startHttps();
  const first = dial({ host: '127.0.0.1', port });
  first.socket.write(`${get}\x16\x03\x01\x02\x00`);
  await first.closed;
  expect(refusals()).toEqual([]);
  expect(first.text()).toMatch(/^HTTP\/1\.1 (200|400) /);
  const second = dial({ host: '127.0.0.1', port });
  second.socket.write(`\x16${get}`);
  await second.closed;
  expect(second.text()).not.toContain('HTTP');
  expect(refusals()).toHaveLength(1);
});

/** Sends what is written in pieces of one byte. */
function slowed(raw: Socket): Duplex {
  const stream = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => {
      void (async () => {
        for (const byte of chunk) await writeAlone(raw, Buffer.of(byte));
        done();
      })();
    },
  });
  raw.on('data', (chunk) => stream.push(chunk));
  return stream;
}

async function writeAlone(raw: Socket, piece: string | Buffer): Promise<void> {
  await new Promise((resolve) => raw.write(piece, resolve));
  await new Promise(setImmediate);
}
