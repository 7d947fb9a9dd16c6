import { request } from 'node:http';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

type Headers = Record<string, string>;
type Place = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** A server with the export "disk" on a loopback address and on a unix socket. */
async function startControl(token: string | null = 's3cret') {
  const exports = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]);
  const host = await controlHostOver(exports);
  const control = new ControlServer(host);
  onTestFinished(() => control.close());
  const socketPath = join(scratchFolder(), 'control.sock');
  await control.listenUnix(socketPath);
  const { port } = await control.listenTcp({ host: '127.0.0.1', port: 0, token: token ?? undefined, tls: undefined });
  return { exports, port, tcp: { host: '127.0.0.1', port }, unix: { socketPath } };
}

interface Answer {
  readonly status: number | undefined;
  readonly document: unknown;
}

/** Resolves to the status and the document of the answer, which is undefined when it is not JSON. */
function ask(place: Place, method: 'GET' | 'POST', path: string, headers: Headers): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request({ ...place, path, method, headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => {
        const isJson = response.headers['content-type']?.includes('json');
        resolve({ status: response.statusCode, document: isJson ? JSON.parse(text) : undefined });
      });
    });
    asking.once('error', reject).end();
  });
}

/** Sends a request that a web page can send without permission (a simple request). */
const disable = (place: Place, headers: Headers) =>
  ask(place, 'POST', '/v1/exports/disk/bitmaps/nightly/disable', headers);

const foreigners: [string, (port: number) => Headers][] = [
  ['a page from another site', () => ({ origin: 'https://example.com' })],
  ['a page from another server on this machine', (port) => ({ origin: `http://127.0.0.1:${port + 1}` })],
  ['a page of an unknown site', () => ({ origin: 'null' })],
  [
    'a page whose host name resolves to this machine',
    (port) => ({ host: `example.com:${port}`, origin: `http://example.com:${port}` }),
  ],
  ['a name that leads here', () => ({ host: 'example.com' })],
  ['a name that looks like an address', () => ({ host: '127.0.0.1.example.com' })],
  ['another address', () => ({ host: '192.0.2.1' })],
];
const callers: [string, (port: number) => Headers][] = [
  ['the address', (port) => ({ host: `127.0.0.1:${port}` })],
  ['localhost', (port) => ({ host: `localhost:${port}` })],
  ['an IPv6 address', () => ({ host: '[::1]' })],
  ['the port of a tunnel', () => ({ host: 'localhost:9' })],
  ['a page of the API itself', (port) => ({ host: `localhost:${port}`, origin: `http://localhost:${port}` })],
];

test.each([...foreigners, ...callers])('over TCP without the token, %s changes nothing', async (_what, headers) => {
  const { exports, tcp, port } = await startControl();
  expect(await disable(tcp, headers(port))).toMatchObject({ status: 401, document: { code: 'UNAUTHORIZED' } });
  expect(exports.get('disk').getBitmap('nightly').recording).toBe(true);
});

describe.each(['/metrics', '/healthz'])('on a loopback address without the token, %s', (path) => {
  test.each(foreigners)('is refused to %s', async (_what, headers) => {
    const { tcp, port } = await startControl();
    expect(await ask(tcp, 'GET', path, headers(port))).toMatchObject({
      status: 403,
      document: { status: 403, code: 'FOREIGN_REQUEST', hint: expect.stringContaining('token') },
    });
  });

  test.each(callers)('may be called by %s', async (_what, headers) => {
    const { tcp, port } = await startControl();
    expect(await ask(tcp, 'GET', path, headers(port))).toMatchObject({ status: 200 });
  });
});

const foreign = { host: 'backup.example.com', origin: 'https://backup.example.com' };

test('with the token the API may be called by any name, because no page has the token', async () => {
  const { tcp } = await startControl();
  const authorization = 'Bearer s3cret';
  expect(await disable(tcp, { ...foreign, authorization })).toMatchObject({ status: 200 });
});

test('on the unix socket, which no page can reach, the API may be called by any name', async () => {
  const { unix } = await startControl();
  expect(await disable(unix, foreign)).toMatchObject({ status: 200 });
});

test('with metrics only, no other route exists, with or without a token', async () => {
  const { exports, tcp } = await startControl(null);
  for (const path of ['/metrics', '/healthz']) expect(await ask(tcp, 'GET', path, {})).toMatchObject({ status: 200 });
  expect(await disable(tcp, {})).toMatchObject({ status: 404 });
  expect(await ask(tcp, 'GET', '/v1/exports', { authorization: 'Bearer ' })).toMatchObject({ status: 404 });
  expect(await ask(tcp, 'GET', '/metrics', foreign)).toMatchObject({ status: 403 });
  expect(exports.get('disk').getBitmap('nightly').recording).toBe(true);
});
