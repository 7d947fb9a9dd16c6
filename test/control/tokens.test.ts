import { expect, test } from 'vitest';
import type { MadeToken, Token } from '../../src/api/token.js';
import { controlApiOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';
import { expectProblem } from '../support/problem.js';

async function startApi() {
  const { ask, api } = await controlApiOver(await memoryRegistry([{ name: 'vm1' }]));
  const list = async () => ((await ask('GET', '/v1/tokens')).document as { tokens: Token[] }).tokens;
  const create = async (body: object) => (await ask('POST', '/v1/tokens', body)).document as MadeToken;
  return { ask, api, list, create };
}

test('a token is made, listed without its secret, and removed', async () => {
  const { ask, list, create } = await startApi();
  const { token, ...facts } = await create({ rights: ['backup'], exports: ['vm*'], name: 'n', ttlSeconds: 60 });
  expect(token).toContain(facts.id);
  expect(facts).toMatchObject({ rights: ['backup'], exports: ['vm*'], name: 'n', madeBy: 'the operator' });
  expect(await list()).toEqual([facts]);
  expect((await ask('DELETE', `/v1/tokens/${facts.id}`)).status).toBe(204);
  expect(await list()).toEqual([]);
  const again = await ask('DELETE', `/v1/tokens/${facts.id}`);
  expectProblem(again, 'TOKEN_NOT_FOUND', `there is no token ${facts.id}`);
});

test('the answer with the secret is not to be stored by proxies', async () => {
  const { api } = await startApi();
  const { headers } = await api.inject({ method: 'POST', url: '/v1/tokens', payload: { rights: ['list'] } });
  expect(headers['cache-control']).toBe('no-store');
});

test('a token that is valid until it is removed has no time of expiry', async () => {
  const { create } = await startApi();
  expect(await create({ rights: ['list'], ttlSeconds: null })).toMatchObject({ expiresAt: null });
});

test.each([
  ['no rights', { rights: [] }],
  ['rights that do not exist', { rights: ['everything'] }],
  ['no list of rights', {}],
  ['an empty list of patterns', { rights: ['list'], exports: [] }],
  ['an empty pattern', { rights: ['list'], exports: [''] }],
  ['too many patterns', { rights: ['list'], exports: Array(17).fill('a') }],
  ['no lifetime', { rights: ['list'], ttlSeconds: 0 }],
  ['a lifetime of centuries', { rights: ['list'], ttlSeconds: 1e12 }],
  ['an unknown key', { rights: ['list'], right: 'read' }],
])('a token with %s is refused', async (_what, body) => {
  const { ask, list } = await startApi();
  expect(await ask('POST', '/v1/tokens', body)).toMatchObject({ status: 400, document: { code: 'BAD_REQUEST' } });
  expect(await list()).toEqual([]);
});
