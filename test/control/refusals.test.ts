import { describe, expect, test } from 'vitest';
import { CodedError, type ErrorCode, errorTitles } from '../../src/base/coded-error.js';
import { EIO } from '../../src/base/errno.js';
import { runToEnd } from '../../src/base/steps.js';
import { MIB } from '../../src/base/units.js';
import { errorStatuses } from '../../src/control/error-statuses.js';
import { ExportRegistry } from '../../src/export/registry.js';
import { type Answer, controlApiOver } from '../support/control-api.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { idleClient } from '../support/idle-client.js';
import { insideOf } from '../support/inside.js';
import { keepLog } from '../support/log-lines.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';

const bitmapUrl = '/v1/exports/disk/bitmaps/nightly';

/** Two exports of different sizes, each with a bitmap "nightly". */
async function serve() {
  const small = new FaultyDevice(new MemoryDevice(MIB));
  const exports = await memoryRegistry([
    { name: 'disk', bitmaps: ['nightly', 'busy', 'broken'] },
    { name: 'small', device: small, bitmaps: ['nightly'] },
  ]);
  const { bitmaps } = insideOf(exports.get('disk'));
  bitmaps.get('busy').createSuccessor();
  bitmaps.get('broken').markInconsistent('the image was written by somebody else');
  return { exports, small, ...(await controlApiOver(exports)) };
}

/** Compares the whole problem document; `rest` holds the members that do not come from the catalogue. */
function expectProblem(answer: Answer, code: ErrorCode, rest: object): void {
  const [status, title] = [errorStatuses[code], errorTitles[code]];
  expect(answer.document).toEqual({ type: `errors.md#${code.toLowerCase()}`, title, status, code, ...rest });
  expect(answer).toMatchObject({ status, mediaType: 'application/problem+json' });
}

describe('every refusal is a problem document with the status of its code', () => {
  test.each(Object.keys(errorTitles) as ErrorCode[])('%s', async (code) => {
    const exports = new ExportRegistry(() => Promise.reject(new CodedError(code, 'what happened', 'how to mend it')));
    const { ask } = await controlApiOver(exports);
    const answer = await ask('POST', '/v1/exports', { name: 'disk', path: 'x' });
    expectProblem(answer, code, { detail: 'what happened', hint: 'how to mend it' });
  });

  test('without a hint when there is none', async () => {
    const exports = new ExportRegistry(() => Promise.reject(new CodedError('IMAGE_LOCKED', 'what happened')));
    const { ask } = await controlApiOver(exports);
    const answer = await ask('POST', '/v1/exports', { name: 'disk', path: 'x' });
    expectProblem(answer, 'IMAGE_LOCKED', { detail: 'what happened' });
  });
});

describe('a bug', () => {
  test('is logged, and the answer does not reveal internals', async () => {
    const bug = new TypeError('secret is not a function');
    const { log, lines } = keepLog();
    const { ask } = await controlApiOver(new ExportRegistry(() => Promise.reject(bug)), { log });
    const answer = await ask('POST', '/v1/exports', { name: 'disk', path: 'x' });
    const hint = 'its log says why; please report it';
    expectProblem(answer, 'INTERNAL', { detail: 'the server failed to answer', hint });
    expect(lines).toEqual([{ level: 'error', fields: { err: bug }, message: 'a bug in the control API' }]);
  });
});

describe('a resource that does not exist is refused', () => {
  const exportHint = 'tidemark export list shows what is served';
  test.each([
    ['GET', '/v1/exports/nope'],
    ['DELETE', '/v1/exports/nope'],
    ['POST', '/v1/exports/nope/resize', { sizeBytes: 512 }],
    ['GET', '/v1/exports/nope/bitmaps'],
    ['POST', '/v1/exports/nope/bitmaps', { name: 'x' }],
    ['GET', '/v1/exports/nope/bitmaps/nightly'],
    ['GET', '/v1/exports/nope/bitmaps/nightly/extents'],
  ] as const)('an export: %s %s', async (method, url, body?: object) => {
    const { ask } = await serve();
    const answer = await ask(method, url, body);
    expectProblem(answer, 'EXPORT_NOT_FOUND', { detail: 'there is no export "nope"', hint: exportHint });
  });

  test.each([
    ['GET', ''],
    ['DELETE', ''],
    ['POST', '/clear'],
    ['POST', '/enable'],
    ['POST', '/disable'],
    ['POST', '/merge', { sources: ['nightly'] }],
    ['GET', '/extents'],
  ] as const)('a bitmap: %s …/nope%s', async (method, path, body?: object) => {
    const { ask } = await serve();
    const answer = await ask(method, `/v1/exports/disk/bitmaps/nope${path}`, body);
    const hint = 'tidemark bitmap list shows them';
    expectProblem(answer, 'BITMAP_NOT_FOUND', { detail: "Dirty bitmap 'nope' not found", hint });
  });

  test('the source of a merge', async () => {
    const { ask } = await serve();
    const sources = [{ export: 'nope', bitmap: 'x' }];
    const answer = await ask('POST', `${bitmapUrl}/merge`, { sources });
    expectProblem(answer, 'EXPORT_NOT_FOUND', { detail: 'there is no export "nope"', hint: exportHint });
  });

  test.each([
    ['GET', '/v2/exports'],
    ['GET', '/v1'],
    ['PUT', '/v1/exports/disk/'],
  ] as const)('a route: %s %s', async (method, url) => {
    const { ask } = await serve();
    const answer = await ask(method, url);
    expectProblem(answer, 'NOT_FOUND', { detail: `there is no ${method} ${url}`, hint: 'see /openapi.json' });
  });
});

describe('a request that a resource does not support is refused', () => {
  test.each([
    ['PUT', '/v1/exports/disk', 'DELETE, GET, HEAD'],
    ['PUT', '/v1/exports/no%2Fne?x=1', 'DELETE, GET, HEAD'],
    ['DELETE', '/v1/server', 'GET, HEAD'],
    ['GET', '/v1/transactions', 'POST'],
    ['GET', `${bitmapUrl}/clear`, 'POST'],
  ] as const)('another method: %s %s', async (method, url, allowed) => {
    const { api, ask } = await serve();
    const answer = await ask(method, url);
    expectProblem(answer, 'METHOD_NOT_ALLOWED', {
      detail: `${url} does not support ${method}`,
      hint: `use ${allowed}`,
    });
    expect((await api.inject({ method, url })).headers.allow).toBe(allowed);
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'application/xml', 'nonsense'])(
    'a body of %s',
    async (mediaType) => {
      const { api, exports } = await serve();
      const headers = { 'content-type': mediaType };
      const payload = JSON.stringify({ sources: ['nightly'] });
      for (const url of [`${bitmapUrl}/merge`, `${bitmapUrl}/disable`]) {
        const { statusCode, body } = await api.inject({ method: 'POST', url, headers, payload });
        expect([statusCode, JSON.parse(body).code]).toEqual([415, 'UNSUPPORTED_MEDIA_TYPE']);
      }
      expect(exports.get('disk').getBitmap('nightly').recording).toBe(true);
    },
  );
});

describe('a malformed request is refused', () => {
  const clear = { type: 'bitmap-clear', export: 'disk', bitmap: 'nightly' };
  test.each([
    ['/v1/exports', { name: 'x' }, 'body must have required properties path'],
    ['/v1/exports', { name: '', path: 'x' }, 'body.name must not have fewer than 1 characters'],
    ['/v1/exports', { name: 'x', path: 'x', size: 512 }, 'body.size is not known here'],
    ['/v1/exports', { name: 'x', path: 'x', sizeBytes: '1G' }, 'body.sizeBytes must be integer'],
    ['/v1/exports', { name: 'x', path: 'x', sizeBytes: -1 }, 'body.sizeBytes must be >= 0'],
    [
      '/v1/exports',
      { name: 'x', path: 'x', bitmaps: [{ name: 'x', disabled: true }] },
      'body.bitmaps.0.disabled is not known here',
    ],
    ['/v1/exports/disk/resize', { sizeBytes: 512, shrink: true }, 'body.shrink is not known here'],
    ['/v1/exports/disk/resize', undefined, 'body must be object'],
    ['/v1/exports/disk/bitmaps', { name: 'x', granularity: 512 }, 'body.granularity is not known here'],
    ['/v1/exports/disk/bitmaps', { name: 'x', disabled: 'yes' }, 'body.disabled must be boolean'],
    [`${bitmapUrl}/merge`, { sources: [] }, 'body.sources must not have fewer than 1 items'],
    [`${bitmapUrl}/merge`, { source: 'x', sources: ['x'] }, 'body.source is not known here'],
    ['/v1/transactions', { actions: [] }, 'body.actions must not have fewer than 1 items'],
    ['/v1/transactions', { actions: Array(1001).fill(clear) }, 'body.actions must not have more than 1000 items'],
    ['/v1/transactions', { actions: [clear], dry: true }, 'body.dry is not known here'],
    ['/v1/transactions', { actions: [{ ...clear, name: 'x' }] }, 'body.actions.0.name is not known here'],
    ['/v1/transactions', { actions: [{ ...clear, type: 'x' }] }, 'body.actions.0.type must be equal to constant'],
  ])('POST %s %o', async (url, body, detail) => {
    const { ask } = await serve();
    expectProblem(await ask('POST', url, body), 'BAD_REQUEST', { detail, hint: 'see /openapi.json' });
  });

  test.each([
    ['offset=x', 'querystring.offset must be integer'],
    ['offset=1.5', 'querystring.offset must be integer'],
    ['offset=', 'querystring.offset must be integer'],
    ['offset=1&offset=2', 'querystring.offset must be integer'],
    ['limit=2.0', 'querystring.limit must be integer'],
    ['offset=-1', 'querystring.offset must be >= 0'],
    ['limit=0', 'querystring.limit must be >= 1'],
    ['limit=100001', 'querystring.limit must be <= 100000'],
    ['length=1', 'querystring.length is not known here'],
  ])('extents?%s', async (query, detail) => {
    const { ask } = await serve();
    const answer = await ask('GET', `${bitmapUrl}/extents?${query}`);
    expectProblem(answer, 'BAD_REQUEST', { detail, hint: 'see /openapi.json' });
  });

  test('extents past the end of the disk', async () => {
    const { ask } = await serve();
    const answer = await ask('GET', `${bitmapUrl}/extents?offset=${DISK_BYTES + 1}`);
    expectProblem(answer, 'BAD_REQUEST', {
      detail: `offset ${DISK_BYTES + 1} is past the end of the disk (${DISK_BYTES} bytes)`,
    });
  });

  test.each([
    ['application/json', '{"name"'],
    ['application/json', ''],
    ['application/json', JSON.stringify({ name: 'x', path: 'x'.repeat(2 * MIB) })],
  ])('a body of %s that cannot be read', async (contentType, payload) => {
    const { api } = await serve();
    const headers = { 'content-type': contentType };
    const answer = await api.inject({ method: 'POST', url: '/v1/exports', payload, headers });
    expect(answer.statusCode).toBe(400);
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json\b/);
    expect(answer.json()).toMatchObject({ code: 'BAD_REQUEST', status: 400 });
  });

  test.each(['/v1/exports/%zz', `/v1/exports/${'x'.repeat(20_000)}`])('a URL that cannot be parsed', async (url) => {
    const { ask } = await serve();
    expect(await ask('GET', url)).toMatchObject({
      status: 400,
      mediaType: 'application/problem+json',
      document: { code: 'BAD_REQUEST', status: 400 },
    });
  });
});

describe('an operation that is not possible is refused', () => {
  test('adding an export whose name is taken', async () => {
    const { ask } = await serve();
    const answer = await ask('POST', '/v1/exports', { name: 'disk', path: 'x' });
    const hint = 'choose another name, or remove it first';
    expectProblem(answer, 'EXPORT_EXISTS', { detail: 'there is already an export "disk"', hint });
  });

  test('shrinking an export that has clients', async () => {
    const { ask, exports } = await serve();
    runToEnd(insideOf(exports.get('disk')).bitmaps.get('busy').freeze!.reclaiming());
    exports.get('disk').attach(idleClient());
    const answer = await ask('POST', '/v1/exports/disk/resize', { sizeBytes: MIB });
    const detail = '"disk" cannot shrink under its 1 client';
    expectProblem(answer, 'EXPORT_IN_USE', { detail, hint: 'disconnect them first' });
    expect(exports.get('disk').sizeBytes).toBe(DISK_BYTES);
  });

  test('shrinking an export with a busy bitmap', async () => {
    const { ask } = await serve();
    const answer = await ask('POST', '/v1/exports/disk/resize', { sizeBytes: MIB });
    expect(answer).toMatchObject({ status: 409, document: { code: 'BITMAP_BUSY' } });
  });

  test('closing a disk that cannot be flushed, although the export is removed', async () => {
    const { ask, small } = await serve();
    small.fail('flush', EIO);
    const answer = await ask('DELETE', '/v1/exports/small');
    const hint = 'see the log for the cause; remove the export and add it again once its storage is sound';
    expectProblem(answer, 'FLUSH_FAILED', { detail: 'the disk of "small" could not be flushed: EIO', hint });
    expect((await ask('GET', '/v1/exports/small')).status).toBe(404);
  });

  test.each([
    [{ name: '' }, 'Bitmap name cannot be empty', 'give it a name'],
    [{ name: 'a\nb' }, 'Bitmap name contains a control character', 'choose a printable name'],
    [
      { name: 'x', granularityBytes: 1000 },
      'Granularity must be power of 2 and at least 512',
      'choose one such as 64K',
    ],
    [
      { name: 'x', granularityBytes: 2 ** 32 },
      'Granularity exceeds maximum (2147483648 bytes)',
      'choose a smaller one, such as 64K',
    ],
  ])('the bitmap %o', async (body, detail, hint) => {
    const { ask } = await serve();
    expectProblem(await ask('POST', '/v1/exports/disk/bitmaps', body), 'BITMAP_INVALID', { detail, hint });
  });

  test('adding a bitmap whose name is taken', async () => {
    const { ask } = await serve();
    const answer = await ask('POST', '/v1/exports/disk/bitmaps', { name: 'nightly' });
    const hint = 'choose another name, or remove it first';
    expectProblem(answer, 'BITMAP_EXISTS', { detail: 'Bitmap already exists: nightly', hint });
  });

  test.each([
    ['DELETE', ''],
    ['POST', '/clear'],
    ['POST', '/enable'],
    ['POST', '/disable'],
    ['POST', '/merge', { sources: ['nightly'] }],
  ] as const)('%s a busy bitmap%s', async (method, path, body?: object) => {
    const { ask } = await serve();
    expectProblem(await ask(method, `/v1/exports/disk/bitmaps/busy${path}`, body), 'BITMAP_BUSY', {
      detail: "Bitmap 'busy' is currently in use by another operation and cannot be used",
      hint: 'wait until that operation has ended; tidemark backup list shows backups under way',
    });
  });

  test.each([
    ['POST', '/clear'],
    ['POST', '/enable'],
    ['POST', '/disable'],
    ['POST', '/merge', { sources: ['nightly'] }],
    ['GET', '/extents'],
  ] as const)('%s an inconsistent bitmap%s', async (method, path, body?: object) => {
    const { ask } = await serve();
    const answer = await ask(method, `/v1/exports/disk/bitmaps/broken${path}`, body);
    const why = path === '/extents' ? ': the image was written by somebody else' : '';
    expectProblem(answer, 'BITMAP_INCONSISTENT', {
      detail: `Bitmap 'broken' is inconsistent and cannot be used${why}`,
      hint: 'remove it and add it again; the next backup will be a full one',
    });
  });

  test('merging bitmaps of disks of different sizes', async () => {
    const { ask } = await serve();
    const sources = [{ export: 'small', bitmap: 'nightly' }];
    expectProblem(await ask('POST', `${bitmapUrl}/merge`, { sources }), 'BITMAP_INCOMPATIBLE', {
      detail: "Bitmaps are incompatible and can't be merged",
      hint: `the disk of 'nightly' has ${DISK_BYTES} bytes, the disk of 'nightly' has ${MIB}`,
    });
  });
});

describe('a transaction that is refused', () => {
  const disable = { type: 'bitmap-disable', export: 'disk', bitmap: 'nightly' };
  const add = { type: 'bitmap-add', export: 'small', bitmap: 'x' };
  test.each([
    [{ type: 'bitmap-clear', export: 'nope', bitmap: 'x' }, 404, 'EXPORT_NOT_FOUND'],
    [{ type: 'bitmap-remove', export: 'disk', bitmap: 'nope' }, 404, 'BITMAP_NOT_FOUND'],
    [{ type: 'bitmap-enable', export: 'disk', bitmap: 'busy' }, 409, 'BITMAP_BUSY'],
    [{ type: 'bitmap-clear', export: 'disk', bitmap: 'broken' }, 409, 'BITMAP_INCONSISTENT'],
    [{ type: 'bitmap-add', export: 'small', bitmap: 'x' }, 409, 'BITMAP_EXISTS'],
    [{ type: 'bitmap-merge', export: 'disk', bitmap: 'nightly', sources: ['broken'] }, 409, 'BITMAP_INCONSISTENT'],
  ])('by %o names it and changes nothing', async (action, status, code) => {
    const { ask, events } = await serve();
    const heard: unknown[] = [];
    events.follow((event) => heard.push(event));
    const before = (await ask('GET', '/v1/exports')).document;
    const answer = await ask('POST', '/v1/transactions', { actions: [disable, add, action, disable] });
    expect(answer).toMatchObject({ status, document: { code, failedAction: 2 } });
    expect((await ask('GET', '/v1/exports')).document).toEqual(before);
    expect(heard).toEqual([]);
  });
});
