import { expect, onTestFinished, test } from 'vitest';
import { Policy } from '../../src/access/access.js';
import type { Identity } from '../../src/access/identity.js';
import type { SignInLink } from '../../src/api/sign-in.js';
import type { MadeToken } from '../../src/api/token.js';
import { SignInCodes } from '../../src/control/admission/sign-in-codes.js';
import { buildControlApi } from '../../src/control/control-api.js';
import { rulesOf } from '../support/access-rules.js';
import { controlApiOf, controlHostOver, serverFacts } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { expectProblem } from '../support/problem.js';

async function startApi() {
  const host = await controlHostOver(await memoryRegistry([{ name: 'vm1' }]));
  const { ask } = await controlApiOf(host);
  const link = async () => (await ask('POST', '/v1/sign-in-links', {})).document as SignInLink;
  return { host, ask, link };
}

const remote: Identity = {
  over: 'http',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  certificate: { dn: 'CN=a', commonName: 'a', names: [], serial: '01' },
};

/** The API as somebody from another machine sees it. */
async function apiFor(caller: Identity, spec: string) {
  const host = { ...(await controlHostOver(await memoryRegistry([]))), policy: new Policy(rulesOf(spec)) };
  const api = await buildControlApi(host, { authenticate: () => caller });
  onTestFinished(() => api.close());
  return { host, post: (url: string, payload: object) => api.inject({ method: 'POST', url, payload }) };
}

test('a code is exchanged for a token that may do everything, once', async () => {
  const { host, ask, link } = await startApi();
  const { code } = await link();
  const { status, document } = await ask('POST', '/v1/sign-in', { code });
  expect(status).toBe(201);
  const { token, expiresAt, createdAt, ...facts } = document as MadeToken;
  expect(facts).toMatchObject({ name: 'page', rights: ['admin'], exports: ['*'], madeBy: 'the operator' });
  expect(Date.parse(expiresAt!) - Date.parse(createdAt)).toBe(12 * 3600 * 1000);
  expect(host.tokens.find(token)).toMatchObject({ token: { id: facts.id } });
  const again = await ask('POST', '/v1/sign-in', { code });
  expectProblem(again, 'UNAUTHORIZED', 'the sign-in link is not valid');
  expect(host.refusals.counts()).toEqual([{ over: 'api', reason: 'token', count: 1 }]);
  expect(host.tokens.list()).toHaveLength(1);
});

test('the link leads to the page, with the code where no server sees it', async () => {
  const { host, ask, link } = await startApi();
  expect(await link()).not.toHaveProperty('url');
  const serve = (http: object) =>
    Object.assign(host, { describeServer: () => ({ ...serverFacts, http: { metricsOnly: false, ...http } }) });
  serve({ host: '0.0.0.0', port: 8080, tls: false });
  const { url, code } = await link();
  expect(url).toBe(`http://localhost:8080/#sign-in=${code}`);
  serve({ host: '::1', port: 8443, tls: true });
  expect((await link()).url).toMatch(/^https:\/\/\[::1\]:8443\/#sign-in=[\w-]{43}$/);
  serve({ host: '::1', port: 8443, tls: true, metricsOnly: true });
  expect(await link()).not.toHaveProperty('url');
  expect((await ask('POST', '/v1/sign-in-links', { ttlSeconds: 59 })).status).toBe(400);
  expect((await ask('POST', '/v1/sign-in-links', { ttlSeconds: 3601 })).status).toBe(400);
});

test('only who may do everything gets a link', async () => {
  const { post } = await apiFor(remote, 'any,rights=write');
  expect((await post('/v1/sign-in-links', {})).statusCode).toBe(403);
});

test('a code gives nothing any more when its maker has lost the right to everything', async () => {
  const { host, post } = await apiFor(remote, 'any,rights=admin');
  const { code } = (await post('/v1/sign-in-links', {})).json();
  host.policy.current = rulesOf('any,rights=write');
  expect((await post('/v1/sign-in', { code })).statusCode).toBe(401);
  expect(host.tokens.list()).toEqual([]);
});

test('a token that came of a code ends with the token of who made the code', async () => {
  const { host, ask } = await startApi();
  const { token: maker } = await host.tokens.create({ rights: ['admin'] }, { ...remote, operator: true });
  const identity: Identity = { ...remote, token: maker };
  const early = host.signInCodes.issue(identity, 60);
  const late = host.signInCodes.issue(identity, 60);
  const { token } = (await ask('POST', '/v1/sign-in', { code: early.code })).document as MadeToken;
  expect(host.tokens.find(token)).toHaveProperty('token');
  await host.tokens.remove(maker.id);
  expect(host.tokens.find(token)).toHaveProperty('refused');
  expect((await ask('POST', '/v1/sign-in', { code: late.code })).status).toBe(401);
});

test('a code that came over plain HTTP from another machine is refused, and stays valid', async () => {
  const { host, post } = await apiFor({ ...remote, encrypted: false }, 'any,rights=list');
  const { code } = host.signInCodes.issue({ ...remote, operator: true }, 60);
  const { statusCode, body } = await post('/v1/sign-in', { code });
  expect([statusCode, body]).toEqual([401, expect.stringContaining('plain HTTP')]);
  expect(host.signInCodes.redeem(code)).toBeDefined();
});

test('a code is valid until its time is over', () => {
  let now = 0;
  const codes = new SignInCodes(() => now);
  const [one, other] = [codes.issue(remote, 60), codes.issue(remote, 60)];
  now = 59_999;
  expect(codes.redeem(one.code)).toBe(remote);
  now = 60_000;
  expect(codes.redeem(other.code)).toBeUndefined();
});

test('of more than 100 codes, the oldest are not valid any more', () => {
  const codes = new SignInCodes();
  const issued = Array.from({ length: 101 }, () => codes.issue(remote, 60).code);
  expect(issued.map((code) => codes.redeem(code) !== undefined)).toEqual([false, ...Array(100).fill(true)]);
});
