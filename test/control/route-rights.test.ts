import { describe, expect, onTestFinished, test } from 'vitest';
import { Access, Policy } from '../../src/access/access.js';
import type { Identity } from '../../src/access/identity.js';
import { type Right, rights } from '../../src/access/rights.js';
import type { Log } from '../../src/base/log.js';
import { buildControlApi } from '../../src/control/control-api.js';
import { seenEvent } from '../../src/control/seen-events.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { SeenExports } from '../../src/export/seen-exports.js';
import type { ServerEvent } from '../../src/watch/happening.js';
import { rulesOf } from '../support/access-rules.js';
import { controlHostOver } from '../support/control-api.js';
import { keepLog } from '../support/log-lines.js';
import { memoryRegistry } from '../support/memory-server.js';

const caller: Identity = {
  over: 'http',
  from: { kind: 'tcp', address: '10.0.0.7' },
  encrypted: true,
  certificate: { dn: 'CN=a', commonName: 'a', names: [], serial: '01' },
};

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** The API as somebody with these rules sees it, on the exports `a` and `b`, or on those that are named. */
async function apiFor(specs: string[], names = ['a', 'b'], log?: Log) {
  const registry = await memoryRegistry(names.map((name) => ({ name, bitmaps: ['nightly', 'spare'] })));
  const host = { ...(await controlHostOver(registry, log)), policy: new Policy(rulesOf(...specs)) };
  const api = await buildControlApi(host, { authenticate: () => caller });
  onTestFinished(() => api.close());
  const ask = async (method: Method, url: string, body?: object) => {
    const { statusCode, body: text } = await api.inject({ method, url, ...(body && { payload: body }) });
    return { status: statusCode, text };
  };
  return { host, ask };
}

const bitmap = '/v1/exports/a/bitmaps/nightly';

/** Every route that is about an export, with the rights of which one is enough. */
const routes: [Method, string, object | undefined, Right[]][] = [
  ['GET', '/v1/exports/a', undefined, ['list']],
  ['GET', '/v1/exports/a/bitmaps', undefined, ['read', 'backup']],
  ['POST', '/v1/exports/a/bitmaps', { name: 'new' }, ['admin']],
  ['GET', bitmap, undefined, ['read', 'backup']],
  ['GET', `${bitmap}/extents`, undefined, ['read', 'backup']],
  ['GET', '/v1/exports/a/map', undefined, ['read', 'backup']],
  ['POST', `${bitmap}/clear`, undefined, ['admin']],
  ['POST', `${bitmap}/enable`, undefined, ['admin']],
  ['POST', `${bitmap}/disable`, undefined, ['admin']],
  ['POST', `${bitmap}/merge`, { sources: ['spare'] }, ['admin']],
  ['DELETE', bitmap, undefined, ['admin']],
  ['POST', '/v1/transactions', { actions: [{ type: 'bitmap-clear', export: 'a', bitmap: 'nightly' }] }, ['admin']],
  ['POST', '/v1/backups', { exports: ['a'], bitmap: 'nightly' }, ['backup']],
  ['POST', '/v1/backups', { exports: ['a'], bitmap: 'nightly', onScratchFull: 'fail-writer' }, ['admin']],
  ['PUT', '/v1/exports/a/latency-bounds', { boundsSeconds: [0.001, 1] }, ['admin']],
  ['POST', '/v1/exports/a/resize', { sizeBytes: 4 * 1024 * 1024 }, ['admin']],
  ['DELETE', '/v1/exports/a', undefined, ['admin']],
];

/** Which rights include which, written once more. */
const holders: Record<Right, Right[]> = {
  list: ['list', 'read', 'write', 'backup', 'admin'],
  read: ['read', 'write', 'admin'],
  write: ['write', 'admin'],
  backup: ['backup', 'admin'],
  admin: ['admin'],
};

describe.each(routes)('%s %s', (method, url, body, anyOf) => {
  test.each(rights)('with the right %s', async (right) => {
    const { ask } = await apiFor([`any,rights=${right}`]);
    const { status, text } = await ask(method, url, body);
    const isAllowed = anyOf.some((needed) => holders[needed].includes(right));
    // A refusal for another reason means that the right was enough.
    if (isAllowed) expect([401, 403, 404], text).not.toContain(status);
    else expect([status, JSON.parse(text).code], text).toEqual([403, 'FORBIDDEN']);
  });

  test('an export that the caller may not see is answered like one that does not exist', async () => {
    for (const specs of [[], ['any,exports=b,rights=admin']]) {
      const hidden = await (await apiFor(specs)).ask(method, url, body);
      const missing = await (await apiFor(specs, ['b'])).ask(method, url, body);
      expect(hidden, specs.join()).toEqual(missing);
      expect(hidden.status).toBe(404);
    }
  });
});

test('an export that cannot be served is known only to its administrators', async () => {
  for (const [spec, status] of [
    ['any,exports=gone,rights=admin', 204],
    ['any,exports=b,rights=admin', 404],
  ] as const) {
    const { host, ask } = await apiFor([spec]);
    await host.kept.keep({ name: 'gone', path: '/gone.img' }, 'operator');
    host.kept.noteProblem('gone', 'there is no such file');
    const listed = JSON.parse((await ask('GET', '/v1/exports')).text).unserved;
    const unserved = { name: 'gone', path: '/gone.img', problem: 'there is no such file' };
    expect(listed).toEqual(status === 204 ? [unserved] : []);
    expect((await ask('DELETE', '/v1/exports/gone')).status).toBe(status);
    expect(host.kept.list()).toHaveLength(status === 204 ? 0 : 1);
  }
});

test('only those who may do everything everywhere have the configuration read again', async () => {
  const reload = async (spec: string) => (await (await apiFor([spec])).ask('POST', '/v1/reload')).status;
  expect(await reload('any,rights=admin,exports=a')).toBe(403);
  expect(await reload('any,rights=write')).toBe(403);
  expect(await reload('any,rights=admin')).toBe(200);
});

test('an export is added only by those who may do everything everywhere', async () => {
  const add = async (spec: string) =>
    (await (await apiFor([spec])).ask('POST', '/v1/exports', { name: 'c', path: 'c' })).status;
  expect(await add('any,rights=admin,exports=c')).toBe(403);
  expect(await add('any,rights=write')).toBe(403);
  expect(await add('any,rights=admin')).not.toBe(403);
});

test('lists have only what the caller may see', async () => {
  const { ask } = await apiFor(['any,exports=a,rights=list']);
  const exports = JSON.parse((await ask('GET', '/v1/exports')).text).exports;
  expect(exports).toEqual([expect.objectContaining({ name: 'a', bitmaps: [], connections: [] })]);
  expect(exports[0]).not.toHaveProperty('path');
  const server = JSON.parse((await ask('GET', '/v1/server')).text);
  expect(server.exports).toEqual(['a']);
  expect(server).not.toHaveProperty('stateDirectory');
  expect(server).not.toHaveProperty('connections');
  expect(server).not.toHaveProperty('pid');
  expect(server).not.toHaveProperty('memory');
  expect(JSON.parse((await ask('GET', '/v1/clients')).text)).toEqual({ clients: [] });
  expect((await ask('DELETE', '/v1/clients/1')).status).toBe(404);
});

describe('a backup', () => {
  const both = ['any,rights=backup'];

  test('of which the caller may not back up every export does not exist for it', async () => {
    const { host, ask } = await apiFor(both);
    const begun = await ask('POST', '/v1/backups', { exports: ['a', 'b'], bitmap: 'nightly' });
    expect(begun.status, begun.text).toBe(201);
    const { id } = JSON.parse(begun.text);
    expect(JSON.parse((await ask('GET', '/v1/backups')).text).backups).toHaveLength(1);
    host.policy.current = rulesOf('any,exports=a,rights=admin');
    expect(JSON.parse((await ask('GET', '/v1/backups')).text)).toEqual({ backups: [] });
    const release = { export: 'a', offset: 0, length: 4096 };
    for (const [method, path, body] of [
      ['GET', '', undefined],
      ['POST', '/renew', undefined],
      ['POST', '/release', release],
      ['POST', '/commit', undefined],
      ['POST', '/abort', undefined],
    ] as const) {
      const hidden = await ask(method, `/v1/backups/${id}${path}`, body);
      const missing = await ask(method, `/v1/backups/20010101T000000Z-aaaa${path}`, body);
      expect(hidden.status, path).toBe(404);
      expect(hidden.text.replace(id, 'ID')).toBe(missing.text.replace('20010101T000000Z-aaaa', 'ID'));
    }
    host.policy.current = rulesOf(...both);
    expect((await ask('POST', `/v1/backups/${id}/abort`)).status).toBe(200);
  });

  test('that can make writes fail takes the right to write on each export', async () => {
    const { host, ask } = await apiFor([...both, 'any,exports=a,rights=write']);
    const begin = (exports: string[]) =>
      ask('POST', '/v1/backups', { exports, bitmap: 'nightly', onScratchFull: 'fail-writer', scratchLimitBytes: 0 });
    const { status, text } = await begin(['a', 'b']);
    expect([status, JSON.parse(text)]).toEqual([
      403,
      expect.objectContaining({ code: 'FORBIDDEN', detail: 'this needs the right write on the export "b"' }),
    ]);
    expect(host.backups.list()).toEqual([]);
    expect((await begin(['a'])).status).toBe(201);
  });

  test('of one hidden export among others is not begun', async () => {
    const { host, ask } = await apiFor(['any,exports=a,rights=backup']);
    const { status, text } = await ask('POST', '/v1/backups', { exports: ['a', 'b'], bitmap: 'nightly' });
    expect([status, JSON.parse(text).code]).toEqual([404, 'EXPORT_NOT_FOUND']);
    expect(host.backups.list()).toEqual([]);
    expect(host.exports.get('a').getBitmap('nightly').busy).toBe(false);
  });
});

test('a transaction is judged as a whole before its first action, and names the first that is refused', async () => {
  const { host, ask } = await apiFor(['any,exports=a,rights=admin', 'any,exports=b,rights=list']);
  const actions = [
    { type: 'bitmap-remove', export: 'a', bitmap: 'spare' },
    { type: 'bitmap-merge', export: 'a', bitmap: 'nightly', sources: [{ export: 'b', bitmap: 'spare' }] },
  ];
  const { status, text } = await ask('POST', '/v1/transactions', { actions });
  expect([status, JSON.parse(text)]).toEqual([403, expect.objectContaining({ code: 'FORBIDDEN', failedAction: 1 })]);
  expect(host.exports.get('a').getBitmap('spare').name).toBe('spare');
});

describe('a refusal is counted and logged, with the export, for', () => {
  const clear = { type: 'bitmap-clear', export: 'a', bitmap: 'nightly' };
  const sources = [{ export: 'b', bitmap: 'spare' }];
  const cases: [string, string, object][] = [
    ['a transaction', '/v1/transactions', { actions: [clear, { ...clear, export: 'b' }] }],
    [
      'the source of a merge in a transaction',
      '/v1/transactions',
      { actions: [clear, { ...clear, type: 'bitmap-merge', sources }] },
    ],
    ['the source of a merge', `${bitmap}/merge`, { sources: ['spare', ...sources] }],
    ['a backup', '/v1/backups', { exports: ['a', 'b'], bitmap: 'nightly' }],
  ];

  test.each(cases)('%s', async (_what, url, body) => {
    const refused = async (...specs: string[]) => {
      const { log, lines } = keepLog();
      const { host, ask } = await apiFor(['any,exports=a,rights=admin', ...specs], ['a', 'b'], log);
      const { status } = await ask('POST', url, body);
      expect(host.refusals.counts()).toEqual([{ over: 'api', reason: 'rights', count: 1 }]);
      return { status, said: lines.filter(({ level }) => level === 'warn').map(({ message }) => message) };
    };
    expect(await refused()).toEqual({
      status: 404,
      said: ['refused a request of CN=a (10.0.0.7): no rule lets it see "b"'],
    });
    expect(await refused('any,exports=b,rights=list')).toEqual({
      status: 403,
      said: [expect.stringMatching(/^refused a request of CN=a .*: this needs the right .* on the export "b"$/)],
    });
  });
});

test('metrics have no sample of an export or a backup that the caller may not see', async () => {
  const { host, ask } = await apiFor(['any,rights=backup']);
  await ask('POST', '/v1/backups', { exports: ['b'], bitmap: 'nightly' });
  expect((await ask('GET', '/metrics')).text).toMatch(/export="b"[\s\S]*backup="/);
  host.policy.current = rulesOf('any,exports=a,rights=admin');
  const { text } = await ask('GET', '/metrics');
  expect(text).toContain('tidemark_export_size_bytes{export="a"}');
  expect(text).not.toContain('export="b"');
  expect(text).not.toContain('backup="');
});

test.each(rights)(
  'with the right %s, metrics have samples of bitmaps and commands if the API shows them',
  async (right) => {
    const { host, ask } = await apiFor(['any,rights=backup']);
    const { id } = JSON.parse((await ask('POST', '/v1/backups', { exports: ['a'], bitmap: 'nightly' })).text);
    expect((await ask('POST', `/v1/backups/${id}/commit`)).status).toBe(200);
    host.policy.current = rulesOf(`any,exports=a,rights=${right}`);
    const { text } = await ask('GET', '/metrics');
    expect(text).toContain('tidemark_export_size_bytes{export="a"}');
    expect(text.includes('tidemark_export_operations_total{export="a",command="read"}')).toBe(right !== 'list');
    for (const sample of ['tidemark_bitmap_dirty_bytes', 'tidemark_backup_last_commit_timestamp_seconds']) {
      expect(text.includes(`${sample}{export="a",bitmap="nightly"}`), sample).toBe(right !== 'list');
    }
  },
);

test('the name of a hidden export is in no answer', async () => {
  const { ask } = await apiFor(['any,exports=a,rights=admin'], ['a', 'hush"\\,export="a']);
  const lists = ['/v1/exports', '/v1/server', '/v1/clients', '/v1/statistics', '/v1/backups'];
  for (const url of [...lists, '/v1/events/history', '/metrics', '/openapi.json']) {
    expect((await ask('GET', url)).text, url).not.toContain('hush');
  }
});

/** The event as a caller with these rules sees it. */
function seenWith(event: ServerEvent, ...specs: string[]): ServerEvent | undefined {
  const access = new Access(new Policy(rulesOf(...specs)), caller);
  return seenEvent(new SeenExports(new ExportRegistry(() => Promise.reject(new Error())), access), event);
}

test.each([
  ['export-added', { export: 'a' }, ['list', 'read', 'write', 'backup', 'admin']],
  ['bitmaps-changed', { export: 'a', actions: [] }, ['read', 'write', 'backup', 'admin']],
  ['backup-begun', { backup: 'x', bitmap: 'n', exports: ['a'] }, ['backup', 'admin']],
  ['threshold-crossed', { kind: 'dirty', export: 'a' }, ['read', 'write', 'backup', 'admin']],
  ['threshold-crossed', { kind: 'room', export: 'a' }, ['admin']],
] as const)('the event %s is for those who could ask for the same', (type, fields, readers) => {
  const event = { type, at: '', ...fields } as unknown as ServerEvent;
  const sees = (...specs: string[]) => seenWith(event, ...specs) !== undefined;
  expect(rights.filter((right) => sees(`any,rights=${right}`))).toEqual(
    rights.filter((one) => readers.includes(one as never)),
  );
  expect(sees('any,exports=b,rights=admin')).toBe(false);
});

test('the event of a backup is for those who may back up all its exports', () => {
  const event = { type: 'backup-begun', exports: ['a', 'b'] } as unknown as ServerEvent;
  expect(seenWith(event, 'any,exports=a,rights=admin')).toBeUndefined();
});

test.each([
  { type: 'server-stopping' },
  { type: 'hook-failed', hook: 'pager' },
  { type: 'threshold-crossed', kind: 'room' },
])('an event of the server is for those who administer everything: %o', (fields) => {
  const event = fields as unknown as ServerEvent;
  expect(seenWith(event, 'any,rights=backup', 'any,exports=*,rights=admin')).toBe(event);
  expect(seenWith(event, 'any,exports=a,rights=admin')).toBeUndefined();
});

test('who asked is for those who administer the exports of the event', () => {
  const event = { type: 'backup-aborted', exports: ['a', 'b'], by: 'CN=b' } as unknown as ServerEvent;
  const { by: _, ...others } = event;
  expect(seenWith(event, 'any,rights=backup', 'any,exports=a,rights=admin')).toEqual(others);
  expect(seenWith(event, 'any,rights=admin')).toEqual(event);
});

test('thresholds are for those who administer everything', async () => {
  const body = { kind: 'room', of: 'state', limitBytes: 1 };
  for (const [spec, statuses] of [
    ['any,exports=a,rights=admin', [403, 403, 403]],
    ['any,rights=write', [403, 403, 403]],
    ['any,rights=admin', [200, 201, 204]],
  ] as const) {
    const { ask } = await apiFor([spec]);
    const answers = [
      await ask('GET', '/v1/thresholds'),
      await ask('POST', '/v1/thresholds', body),
      await ask('DELETE', '/v1/thresholds/room'),
    ];
    expect(answers.map(({ status }) => status)).toEqual(statuses);
  }
});
