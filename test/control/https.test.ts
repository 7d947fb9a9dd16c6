import { connect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import type { Policy } from '../../src/access/access.js';
import { type Identity, operator } from '../../src/access/identity.js';
import { loadServerTls } from '../../src/tls/tls-settings.js';
import { rulesOf } from '../support/access-rules.js';
import { askHttps, identityIn, startHttps, TOKEN } from '../support/https-scene.js';
import { inDays, pskFile, TestAuthority, writeFolder } from '../support/tls-files.js';

const KEY = 'ab'.repeat(32);

test('who sends nothing that proves who it is gets nothing but health and metrics', async () => {
  const { port, authority, refusals } = await startHttps();
  const ask = (path: string) => askHttps({ port, ca: authority.certificate, path });
  expect(await ask('/healthz')).toMatchObject({ status: 200 });
  expect(await ask('/metrics')).toMatchObject({ status: 200 });
  expect(await ask('/v1/exports')).toMatchObject({
    status: 401,
    headers: { 'www-authenticate': 'Bearer' },
    document: { code: 'UNAUTHORIZED', detail: 'the request has no valid token' },
  });
  expect(refusals()).toEqual(['refused a request: the client proved no identity']);
  expect((await ask('/metrics')).document).toContain('tidemark_refusals_total{interface="api",reason="token"} 1');
});

test('the token of the operator works over HTTPS', async () => {
  const { port, authority } = await startHttps();
  const headers = { authorization: `Bearer ${TOKEN}` };
  const answer = await askHttps({ port, ca: authority.certificate, path: '/v1/exports', headers });
  expect(answer.document.exports).toHaveLength(1);
});

describe('the rules get to know', () => {
  /** Asks for the exports. Resolves to the identities that the rules were asked about. */
  async function seenBy(ask: (scene: Awaited<ReturnType<typeof startHttps>>) => Promise<unknown>) {
    const scene = await startHttps({ psk: pskFile({ backup: KEY }) });
    const seen: Identity[] = [];
    scene.host.policy.current = watching(seen);
    await ask(scene);
    return seen.at(-1);
  }

  test('the certificate of a client', async () => {
    const identity = await seenBy(async ({ port, authority }) =>
      askHttps({ port, path: '/v1/exports', ...identityIn(await authority.clientFolder('CN=backup1,O=Example')) }),
    );
    expect(identity).toMatchObject({
      over: 'http',
      from: { kind: 'tcp', address: '127.0.0.1' },
      encrypted: true,
      certificate: { commonName: 'backup1', dn: expect.stringContaining('CN=backup1') },
    });
    expect(identity).not.toHaveProperty('operator');
  });

  test('the key of a client', async () => {
    const identity = await seenBy(({ port }) =>
      askHttps({
        ...{ port, path: '/v1/exports', ciphers: 'TLS_AES_128_GCM_SHA256', checkServerIdentity: () => undefined },
        pskCallback: () => ({ identity: 'backup', psk: Buffer.from(KEY, 'hex') }),
      } as never),
    );
    expect(identity).toMatchObject({ over: 'http', encrypted: true, psk: 'backup' });
  });

  test('the token of a client, and not its certificate', async () => {
    const identity = await seenBy(async ({ port, host, authority }) => {
      const { text } = await host.tokens.create({ rights: ['list'], exports: ['vm*'] }, operator);
      const headers = { authorization: `Bearer ${text}` };
      const own = identityIn(await authority.clientFolder('CN=backup1'));
      await askHttps({ port, path: '/v1/exports', headers, ...own });
    });
    expect(identity).toMatchObject({ token: { rights: ['list'], exports: ['vm*'] } });
    expect(identity?.certificate).toBe(undefined);
  });
});

test('a wrong token is refused, although the certificate would do', async () => {
  const { port, authority, refusals } = await startHttps();
  const own = identityIn(await authority.clientFolder('CN=backup1'));
  const headers = { authorization: `Bearer tm_aaaaaaaa_${'A'.repeat(43)}` };
  expect(await askHttps({ port, path: '/v1/exports', ...own })).toMatchObject({ status: 200 });
  expect(await askHttps({ port, path: '/v1/exports', headers, ...own })).toMatchObject({ status: 401 });
  expect(await askHttps({ port, path: '/healthz', headers, ...own })).toMatchObject({ status: 401 });
  expect(refusals()).toEqual(['refused a request: unknown token']);
});

test('an expired token is refused like an unknown one, and only the log says that it has expired', async () => {
  const { port, host, authority, refusals } = await startHttps();
  const { text, token } = await host.tokens.create({ rights: ['admin'], ttlSeconds: 1 }, operator);
  const ask = (authorization: string) =>
    askHttps({
      port,
      ca: authority.certificate,
      path: '/v1/exports',
      headers: { authorization: `Bearer ${authorization}` },
    });
  expect(await ask(text)).toMatchObject({ status: 200 });
  await expect.poll(() => host.tokens.isValid(token.id), { timeout: 5000 }).toBe(false);
  const [expired, unknown] = [await ask(text), await ask(`tm_aaaaaaaa_${'A'.repeat(43)}`)];
  expect(expired).toMatchObject({ status: 401 });
  expect(expired.document).toEqual(unknown.document);
  expect(refusals()).toEqual([`refused a request: token ${token.id} expired on ${token.expiresAt}`]);
});

test('a certificate without a rule gets nothing, and only the log says that the export exists', async () => {
  const { port, authority, refusals } = await startHttps();
  const own = identityIn(await authority.clientFolder('CN=backup1'));
  const ask = (path: string, method = 'GET') => askHttps({ port, path, method, ...own });
  expect((await ask('/v1/exports')).document).toEqual({ exports: [], unserved: [] });
  const [hidden, unknown] = [await ask('/v1/exports/disk'), await ask('/v1/exports/dusk')];
  expect(hidden).toMatchObject({ status: 404, document: { code: 'EXPORT_NOT_FOUND' } });
  expect(JSON.stringify(hidden.document).replaceAll('disk', 'dusk')).toBe(JSON.stringify(unknown.document));
  expect(await ask('/v1/tokens')).toMatchObject({ status: 403, document: { code: 'FORBIDDEN' } });
  expect(refusals()).toEqual(['refused a request of CN=backup1 (127.0.0.1): no rule lets it see "disk"']);
});

test('a stream of events ends with the token that opened it, before the next event', async () => {
  const { port, host, authority } = await startHttps();
  const { text, token } = await host.tokens.create({ rights: ['list'] }, operator);
  const socket = connect({ host: '127.0.0.1', port, ca: authority.certificate, servername: 'localhost' });
  let received = '';
  socket.on('data', (part) => {
    received += part;
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(`GET /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${text}\r\n\r\n`);
  await expect.poll(() => received, { timeout: 10_000 }).toContain(': following');
  host.events.publish({ type: 'export-resized', export: 'disk' });
  await expect.poll(() => received, { timeout: 10_000 }).toContain('export-resized');
  await host.tokens.remove(token.id);
  host.events.publish({ type: 'export-removed', export: 'disk' });
  await closed;
  expect(received).not.toContain('export-removed');
});

describe('a page in a browser with a certificate', () => {
  test.each([
    ['of another site', 'https://example.com', 403],
    ['of the API over plain HTTP', 'http://localhost', 403],
    ['of the API itself', 'https://localhost', 200],
  ])('%s (%s)', async (_what, origin, status) => {
    const { port, host, authority } = await startHttps();
    host.policy.current = rulesOf('cn:admin,rights=admin');
    const own = identityIn(await authority.clientFolder('CN=admin'));
    const path = '/v1/exports/disk/bitmaps/nightly/disable';
    const headers = { host: 'localhost', origin };
    expect(await askHttps({ port, path, method: 'POST', headers, ...own })).toMatchObject({ status });
  });
});

describe('the connection ends without an answer, and the log says why, for a certificate that', () => {
  type Issue = (authority: TestAuthority) => Promise<string>;
  const cases: [string, Issue, RegExp][] = [
    [
      'is of another authority',
      async (authority) => {
        const { certificate, key } = await (await TestAuthority.create('strange')).issue({
          subject: 'CN=b',
          purpose: 'client',
        });
        return writeFolder({
          'ca-cert.pem': authority.certificate,
          'client-cert.pem': certificate,
          'client-key.pem': key,
        });
      },
      /CN=b is not from this server's authority/,
    ],
    [
      'has expired',
      (authority) => authority.clientFolder('CN=b', { notAfter: inDays(-1), notBefore: inDays(-2) }),
      /CN=b expired on/,
    ],
    [
      'is not valid yet',
      (authority) => authority.clientFolder('CN=b', { notBefore: inDays(1) }),
      /CN=b is not valid before/,
    ],
    ['is for servers', (authority) => authority.clientFolder('CN=b', { purpose: 'server' }), /CN=b is not for clients/],
  ];

  test.each(cases)('%s', async (_what, issue, log) => {
    const { port, authority, refusals } = await startHttps();
    const own = identityIn(await issue(authority));
    await expect(askHttps({ port, path: '/healthz', ...own })).rejects.toThrow();
    expect(refusals()).toEqual([expect.stringMatching(log)]);
  });
});

test('new certificates count from then on, and open connections stay', async () => {
  const { port, control, authority } = await startHttps();
  const own = identityIn(await authority.clientFolder('CN=b'));
  const open = connect({ host: '127.0.0.1', port, servername: 'localhost', ...own });
  let text = '';
  open.on('data', (part) => {
    text += part;
  });
  const get = 'GET /v1/exports HTTP/1.1\r\nhost: localhost\r\n\r\n';
  open.write(get);
  await expect.poll(() => text, { timeout: 10_000 }).toContain('HTTP/1.1 200');
  const other = await TestAuthority.create('other');
  control.useTls(await loadServerTls({ certificates: await other.serverFolder() }));
  open.write(get);
  await expect.poll(() => text.split('HTTP/1.1 200').length, { timeout: 10_000 }).toBe(3);
  open.destroy();
  await expect(askHttps({ port, path: '/v1/exports', ...own })).rejects.toThrow();
  const renewed = identityIn(await other.clientFolder('CN=b'));
  expect(await askHttps({ port, path: '/v1/exports', ...renewed })).toMatchObject({ status: 200 });
});

/** Rules that let everybody do everything, and note about whom they were asked. */
function watching(seen: Identity[]): Policy['current'] {
  const note = (identity: Identity) => seen.push(identity) > 0;
  return { may: note, mayAll: note };
}
