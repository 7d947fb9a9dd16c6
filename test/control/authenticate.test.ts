import { describe, expect, onTestFinished, test } from 'vitest';
import { operator } from '../../src/access/identity.js';
import { authenticateNobody, authenticateOverTcp } from '../../src/control/admission/authenticate.js';
import { buildControlApi } from '../../src/control/control-api.js';
import type { TlsProof } from '../../src/tls/door.js';
import { rulesOf } from '../support/access-rules.js';
import { controlApiOf, controlHostOver } from '../support/control-api.js';
import { keepLog } from '../support/log-lines.js';
import { memoryRegistry } from '../support/memory-server.js';

/** The API over plain HTTP, as a client at this address gets to see it. */
async function askFrom(remoteAddress: string, rules: readonly string[] = []) {
  const { log, lines } = keepLog();
  const host = await controlHostOver(await memoryRegistry([{ name: 'disk' }]), log);
  host.policy.current = rulesOf(...rules);
  const { api } = await controlApiOf(host, 's3cret');
  const ask = (url: string, token?: string) =>
    api.inject({ url, remoteAddress, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
  const { text } = await host.tokens.create({ rights: ['list'] }, operator);
  return {
    ask,
    made: text,
    refusals: () => lines.filter(({ level }) => level === 'warn').map(({ message }) => message),
  };
}

test.each(['192.0.2.7', '2001:db8::7', '::ffff:192.0.2.7'])(
  'over plain HTTP from another machine, %s, no token is taken, because the network could have read it',
  async (address) => {
    const { ask, made, refusals } = await askFrom(address);
    for (const token of ['s3cret', made, 'wrong']) {
      const answer = await ask('/v1/exports', token);
      expect(answer.statusCode).toBe(401);
      expect(answer.json()).toMatchObject({ code: 'UNAUTHORIZED', hint: expect.stringContaining('https://') });
    }
    expect(refusals()).toEqual(['refused a request: the token came over plain HTTP from another machine']);
  },
);

test('a rule that trusts the network lets tokens be used over plain HTTP, but gives nothing without one', async () => {
  const rules = ['address:192.0.2.0/24,rights=admin,without-tls'];
  const { ask, made } = await askFrom('192.0.2.7', rules);
  expect((await ask('/v1/exports', 's3cret')).statusCode).toBe(200);
  expect((await ask('/v1/exports', made)).statusCode).toBe(200);
  expect((await ask('/v1/exports')).statusCode).toBe(401);
  const elsewhere = await askFrom('198.51.100.7', rules);
  expect((await elsewhere.ask('/v1/exports', 's3cret')).statusCode).toBe(401);
});

test('another machine without a token gets health and the metrics of the process, and no exports', async () => {
  const { ask } = await askFrom('192.0.2.7', ['address:192.0.2.7,rights=admin,without-tls']);
  expect((await ask('/healthz')).statusCode).toBe(200);
  const { body } = await ask('/metrics');
  expect(body).toContain('tidemark_memory_limit_bytes');
  expect(body).not.toContain('export="disk"');
  expect((await ask('/v1/server')).statusCode).toBe(401);
});

test('monitoring on this machine reads the samples of all exports without a token', async () => {
  const { ask } = await askFrom('127.0.0.1', ['local,rights=list,exports=other']);
  expect((await ask('/metrics')).body).toContain('export="disk"');
});

test('a token gives its rights on its exports, and no rule adds to them', async () => {
  const { ask, made } = await askFrom('127.0.0.1', ['local,rights=admin', 'any,rights=admin']);
  expect((await ask('/v1/exports/disk', made)).json()).toMatchObject({ name: 'disk' });
  expect((await ask('/v1/tokens', made)).statusCode).toBe(403);
  expect((await ask('/v1/exports/disk/bitmaps', made)).statusCode).toBe(403);
});

describe.each(['/metrics', '/healthz'])('at an address of all interfaces, %s', (url) => {
  const tls: TlsProof = { protocol: 'TLSv1.3', cipher: 'TLS_AES_128_GCM_SHA256' };

  async function askAs(remoteAddress: string, headers: Record<string, string>, proof?: TlsProof) {
    const host = await controlHostOver(await memoryRegistry([{ name: 'disk' }]));
    const { tokens, policy, refusals } = host;
    const address = { isLoopback: false, proofOf: () => proof };
    const overTcp = authenticateOverTcp({ operatorToken: { current: 's3cret' }, tokens, policy, refusals, ...address });
    const statuses: number[] = [];
    for (const authenticate of [overTcp, authenticateNobody(address)]) {
      const api = await buildControlApi(host, { authenticate });
      onTestFinished(() => api.close());
      statuses.push((await api.inject({ url, remoteAddress, headers })).statusCode);
    }
    return statuses;
  }

  test.each([
    ['whose own name leads to this machine', 'example.com:8080', 'http://example.com:8080'],
    ['of another site', '127.0.0.1:8080', 'https://example.com'],
  ])('is refused to a page in a browser of this machine, %s', async (_what, host, origin) => {
    for (const address of ['127.0.0.1', '::1', '::ffff:127.0.0.1']) {
      expect(await askAs(address, { host, origin }), address).toEqual([403, 403]);
      expect(await askAs(address, { host: 'example.com' }), address).toEqual([403, 403]);
    }
  });

  test.each([
    ['this machine by 127.0.0.1', '127.0.0.1', '127.0.0.1:8080', undefined],
    ['this machine by localhost', '::1', 'localhost:8080', undefined],
    ['this machine by a name, with TLS', '127.0.1.1', 'vm1.example:8080', tls],
    ['another machine by a name', '192.0.2.7', 'vm1.example:8080', undefined],
    ['another machine by an address, with TLS', '192.0.2.7', '192.0.2.1:8080', tls],
  ])('answers %s', async (_what, address, host, proof) => {
    expect(await askAs(address, { host }, proof)).toEqual([200, 200]);
  });

  test('answers this machine by any name, with the token', async () => {
    const [status] = await askAs('127.0.1.1', { host: 'vm1.example', authorization: 'Bearer s3cret' });
    expect(status).toBe(200);
  });
});
