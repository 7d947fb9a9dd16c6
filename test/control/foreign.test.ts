import { request } from 'node:http';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { ControlServer } from '../../src/control/control-server.js';
import { controlHostOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { scratchFolder } from '../support/scratch-folder.js';

type Headers = Record<string, string>;
type Place = { readonly socketPath: string } | { readonly host: string; readonly port: number };

/** A server of the disk "disk" on a loopback address and on a unix socket. */
async function startControl(token?: string) {
  const exports = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]);
  const host = await controlHostOver(exports);
  const control = new ControlServer(host);
  onTestFinished(() => control.close());
  const socketPath = join(scratchFolder(), 'control.sock');
  await control.listenUnix(socketPath);
  const { port } = await control.listenTcp('127.0.0.1', 0, token);
  return { exports, port, tcp: { host: '127.0.0.1', port }, unix: { socketPath } };
}

/** Sends what a web page can send without being asked. Resolves to the status and the document answered. */
function disable(place: Place, headers: Headers): Promise<{ status: number | undefined; document: unknown }> {
  const path = '/v1/exports/disk/bitmaps/nightly/disable';
  return new Promise((resolve, reject) => {
    const asking = request({ ...place, path, method: 'POST', headers, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve({ status: response.statusCode, document: JSON.parse(text) }));
    });
    asking.once('error', reject).end();
  });
}

test.each<[string, (port: number) => Headers]>([
  ['a page of another site', () => ({ origin: 'https://example.com' })],
  ['a page of another server on this machine', (port) => ({ origin: `http://127.0.0.1:${port + 1}` })],
  ['a page of an unknown site', () => ({ origin: 'null' })],
  ['a page whose name leads here', (port) => ({ host: `example.com:${port}`, origin: `http://example.com:${port}` })],
  ['a name that leads here', () => ({ host: 'example.com' })],
  ['a name that looks like an address', () => ({ host: '127.0.0.1.example.com' })],
  ['another address', () => ({ host: '192.0.2.1' })],
])('over TCP without a token, %s is refused, and nothing happens', async (_what, headers) => {
  const { exports, tcp, port } = await startControl();
  expect(await disable(tcp, headers(port))).toMatchObject({
    status: 403,
    document: { status: 403, code: 'FOREIGN_REQUEST', hint: expect.stringContaining('--http-token-file') },
  });
  expect(exports.get('disk').bitmaps.get('nightly').recording).toBe(true);
});

test.each<[string, (port: number) => Headers]>([
  ['the address', (port) => ({ host: `127.0.0.1:${port}` })],
  ['localhost', (port) => ({ host: `localhost:${port}` })],
  ['an IPv6 address', () => ({ host: '[::1]' })],
  ['the port of a tunnel', () => ({ host: 'localhost:9' })],
  ['a page of its own', (port) => ({ host: `localhost:${port}`, origin: `http://localhost:${port}` })],
])('over TCP without a token, the API is called by %s', async (_what, headers) => {
  const { tcp, port } = await startControl();
  expect(await disable(tcp, headers(port))).toMatchObject({ status: 200, document: { recording: false } });
});

const foreign = { host: 'backup.example.com', origin: 'https://backup.example.com' };

test('with a token it may be called by any name, for no page has the token', async () => {
  const { tcp } = await startControl('s3cret');
  expect(await disable(tcp, foreign)).toMatchObject({ status: 401, document: { code: 'UNAUTHORIZED' } });
  const authorization = 'Bearer s3cret';
  expect(await disable(tcp, { ...foreign, authorization })).toMatchObject({ status: 200 });
});

test('on the unix socket, which no page can reach, it may be called by any name', async () => {
  const { unix } = await startControl();
  expect(await disable(unix, foreign)).toMatchObject({ status: 200 });
});
