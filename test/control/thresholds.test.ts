import { expect, test } from 'vitest';
import { silentLog } from '../../src/base/log.js';
import { controlApiOf, controlHostOver } from '../support/control-api.js';
import { keepLog } from '../support/log-lines.js';
import { memoryRegistry } from '../support/memory-server.js';

async function serve(log = silentLog) {
  const exports = await memoryRegistry([{ name: 'disk', bitmaps: ['nightly'] }]);
  return controlApiOf(await controlHostOver(exports, log));
}

const wanted = { kind: 'dirty', bitmap: 'nightly', limitPercent: 30 };
const described = { ...wanted, name: 'dirty', exports: ['*'], origin: 'command', crossed: [], count: 0 };

test('a threshold is added, listed and removed', async () => {
  const { ask } = await serve();
  expect(await ask('POST', '/v1/thresholds', wanted)).toMatchObject({ status: 201, document: described });
  expect((await ask('GET', '/v1/thresholds')).document).toEqual({ thresholds: [described] });
  expect(await ask('POST', '/v1/thresholds', wanted)).toMatchObject({ status: 400, document: { code: 'BAD_REQUEST' } });
  expect(await ask('DELETE', '/v1/thresholds/dirty')).toMatchObject({ status: 204 });
  expect(await ask('DELETE', '/v1/thresholds/dirty')).toMatchObject({
    ...{ status: 404, document: { code: 'THRESHOLD_NOT_FOUND' } },
  });
});

test.each([
  [{ kind: 'moon' }, /kind/],
  [{ ...wanted, limitBytes: 5 }, 'a dirty threshold needs a bitmap, and a size or a share; it can have exports'],
  [{ ...wanted, name: 'a b' }, /^"a b" is not a name/],
  [{ kind: 'room', of: 'state' }, /a room threshold needs/],
  [{ ...wanted, surprise: 1 }, /surprise|additional/],
])('%j is refused', async (body, detail) => {
  const { ask } = await serve();
  const answer = await ask('POST', '/v1/thresholds', body);
  const expected = typeof detail === 'string' ? detail : expect.stringMatching(detail);
  expect(answer).toMatchObject({ status: 400, document: { code: 'BAD_REQUEST', detail: expected } });
});

test('the log says who added and who removed it', async () => {
  const { log, lines } = keepLog();
  const { ask } = await serve(log);
  await ask('POST', '/v1/thresholds', wanted);
  await ask('DELETE', '/v1/thresholds/dirty');
  expect(lines).toMatchObject([
    { level: 'info', fields: { name: 'dirty', by: 'unix socket' }, message: 'added a threshold' },
    { level: 'info', fields: { threshold: 'dirty', by: 'unix socket' }, message: 'removed a threshold' },
  ]);
});
