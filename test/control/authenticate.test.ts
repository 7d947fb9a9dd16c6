import { expect, test } from 'vitest';
import { operator } from '../../src/access/identity.js';
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
