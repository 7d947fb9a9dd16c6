import { expect, test } from 'vitest';
import { controlApiOver } from '../support/control-api.js';
import { memoryRegistry } from '../support/memory-server.js';

const routes = [
  '/v1/exports',
  '/v1/events',
  '/v1/server',
  '/openapi.json',
  '/nothing',
  '/metrics/',
  '//metrics',
  '/healthz/x',
];
const wrong = [undefined, 'Bearer other', 'Bearer s3cret2', 'bearer s3cret', 's3cret', 'Basic s3cret', ''];

async function withToken() {
  return (await controlApiOver(await memoryRegistry([{ name: 'disk' }]), { token: 's3cret' })).api;
}

test.each(routes)('%s is refused without the token', async (url) => {
  const api = await withToken();
  const answer = await api.inject({ url });
  expect(answer.statusCode).toBe(401);
  expect(answer.headers['www-authenticate']).toBe('Bearer');
  expect(answer.headers['content-type']).toMatch(/^application\/problem\+json\b/);
  expect(answer.json()).toEqual({
    type: 'errors.md#unauthorized',
    title: 'A valid token is required',
    status: 401,
    detail: 'the request has no valid token',
    code: 'UNAUTHORIZED',
    hint: expect.stringMatching(/^send Authorization: Bearer TOKEN, or a client certificate .* --token-file/),
  });
});

test.each(['/healthz', '/metrics', '/metrics?x=1'])('%s is open to everybody', async (url) => {
  const api = await withToken();
  expect((await api.inject({ url })).statusCode).toBe(200);
});

test.each(wrong)('the authorization %o is refused, and the request has no effect', async (authorization) => {
  const api = await withToken();
  const headers = authorization === undefined ? {} : { authorization };
  expect((await api.inject({ method: 'DELETE', url: '/v1/exports/disk', headers })).statusCode).toBe(401);
  const list = await api.inject({ url: '/v1/exports', headers: { authorization: 'Bearer s3cret' } });
  expect(list.statusCode).toBe(200);
  expect(list.json().exports).toHaveLength(1);
});

test('without a configured token, none is required', async () => {
  const { ask } = await controlApiOver(await memoryRegistry([{ name: 'disk' }]));
  expect((await ask('GET', '/v1/exports')).status).toBe(200);
});
