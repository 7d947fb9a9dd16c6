import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { ExportSpec } from '../../src/api/export.js';
import type { Backups } from '../../src/backup/backups.js';
import { CodedError } from '../../src/base/coded-error.js';
import { silentLog } from '../../src/base/log.js';
import { MIB } from '../../src/base/units.js';
import type { ClientConnection } from '../../src/export/served-disk.js';
import { resolveConfig } from '../../src/server/config.js';
import { ExportOpener } from '../../src/server/export-opener.js';
import { ExportReload } from '../../src/server/reload-exports.js';
import { readFlags } from '../../src/server/settings.js';
import { EventFeed } from '../../src/watch/event-feed.js';
import { idleClient } from '../support/idle-client.js';
import { makeImage } from '../support/image.js';
import { scratchFolder } from '../support/scratch-folder.js';

/** Exports of a configuration file, with bitmaps in memory, and what reloads that file. */
async function serve(...specs: ExportSpec[]) {
  const state = join(scratchFolder(), 'state');
  const config = resolveConfig(
    readFlags([
      { key: 'state', value: state },
      { key: 'transient', value: true },
    ]),
  );
  const wanted = (from: readonly ExportSpec[]) => from.map((spec) => ({ spec, origin: 'file' as const }));
  const opener = new ExportOpener({ ...config, exports: wanted(specs) }, silentLog);
  await opener.openAll(undefined);
  const { exports } = opener;
  onTestFinished(() => exports.close());
  const events = new EventFeed();
  const heard: object[] = [];
  events.follow(({ id: _id, at: _at, ...event }) => void heard.push(event));
  const backups = { leave: async () => () => {} } as unknown as Backups;
  const names = () => exports.list().map(({ name }) => name);
  const reload = (next: readonly ExportSpec[], switchOver = () => {}) =>
    new ExportReload({ opener, backups, events, hasTls: false }, 'me').run(wanted(next), switchOver);
  const bitmapsOf = (name: string) =>
    exports
      .get(name)
      .bitmapFacts()
      .map((bitmap) => bitmap.name);
  /** A client of an export, until the returned function is called. */
  const connect = (name: string) => {
    const connection: ClientConnection = idleClient({ id: 7, drain: async () => served.detach(connection) });
    const served = exports.get(name);
    served.attach(connection);
    return () => served.detach(connection);
  };
  return { opener, exports, heard, names, reload, bitmapsOf, connect };
}

const disk = (name: string, change: Partial<ExportSpec> = {}): ExportSpec => ({
  name,
  path: makeImage(MIB),
  readOnly: false,
  bitmaps: [],
  ...change,
});

test('a reload adds, removes and changes exports, and says what it did', async () => {
  const [a, b, c] = [disk('a'), disk('b'), disk('c')];
  const { reload, names, exports, heard, bitmapsOf } = await serve(a, b);
  const changed = { ...a, description: 'the first', bitmaps: [{ name: 'nightly', granularityBytes: 4096 }] };
  expect(await reload([changed, c])).toEqual({
    applied: [
      'export a: description changed',
      'export c: added',
      'export a: bitmap nightly added',
      'export b: removed',
    ],
    notApplied: [],
  });
  expect(names()).toEqual(['a', 'c']);
  expect(exports.get('a').description).toBe('the first');
  expect(bitmapsOf('a')).toEqual(['nightly']);
  expect(heard).toEqual([
    { type: 'export-added', export: 'c', by: 'me' },
    { type: 'bitmaps-changed', export: 'a', actions: [{ type: 'bitmap-add', bitmap: 'nightly' }], by: 'me' },
    { type: 'export-removed', export: 'b', by: 'me' },
  ]);
  expect(await reload([changed, c])).toEqual({ applied: [], notApplied: [] });
});

test('a bitmap that the file no longer names stays', async () => {
  const a = disk('a', { bitmaps: [{ name: 'nightly' }] });
  const { reload, bitmapsOf } = await serve(a);
  expect(await reload([{ ...a, bitmaps: [] }])).toEqual({ applied: [], notApplied: [] });
  expect(bitmapsOf('a')).toEqual(['nightly']);
});

test('new rules hold before anybody can use a new export, and nobody new uses one that leaves', async () => {
  const [a, b, c] = [disk('a'), disk('b'), disk('c')];
  const { reload, exports, names } = await serve(a, b);
  let calls = 0;
  await reload([a, c], () => {
    calls++;
    expect(names()).toEqual(['a', 'b']);
    expect(exports.get('a').admits).toBe(true);
    expect(exports.get('b').admits).toBe(false);
  });
  expect(calls).toBe(1);
  expect(names()).toEqual(['a', 'c']);
});

test.each<[string, string, (a: ExportSpec) => readonly ExportSpec[]]>([
  ['an image that does not exist', 'IMAGE_UNUSABLE', (a) => [a, disk('c', { path: '/nonexistent/c.img' })]],
  ['a disk that is served already', 'IMAGE_LOCKED', (a) => [a, disk('c', { path: a.path })]],
  ['two exports of one name', 'EXPORT_EXISTS', (a) => [a, disk('c'), disk('c')]],
  ['a name that no client can be told', 'EXPORT_INVALID', (a) => [a, disk('c\0')]],
  ['TLS that the server does not offer', 'EXPORT_INVALID', (a) => [{ ...a, tls: 'required' }, disk('c')]],
  ['one good and one bad image', 'IMAGE_UNUSABLE', (a) => [a, disk('d'), disk('c', { path: '/nonexistent/c.img' })]],
])('%s changes nothing', async (_what, code, next) => {
  const [a, b] = [disk('a'), disk('b')];
  const { reload, exports, names, heard } = await serve(a, b);
  const [changed, ...others] = next(a);
  let isSwitched = false;
  const refused = reload([{ ...changed!, description: 'changed' }, ...others], () => {
    isSwitched = true;
  });
  await expect(refused).rejects.toMatchObject({ code });
  expect([names(), heard, isSwitched]).toEqual([['a', 'b'], [], false]);
  expect(exports.list().map(({ description, admits }) => ({ description, admits }))).toEqual([
    { description: '', admits: true },
    { description: '', admits: true },
  ]);
  // What was opened is closed again.
  expect(await reload([a, b, disk('d')])).toMatchObject({ applied: ['export d: added'] });
});

test('an export that clients use stays until a reload finds it free', async () => {
  const [a, b] = [disk('a'), disk('b')];
  const { reload, exports, names, connect } = await serve(a, b);
  const disconnect = connect('b');
  expect(await reload([a])).toEqual({
    applied: [],
    notApplied: [{ setting: 'export b', why: '"b" has 1 client: 7 (unix)' }],
  });
  expect(names()).toEqual(['a', 'b']);
  expect([exports.get('b').admits, exports.originOf(exports.get('b'))]).toEqual([true, 'file']);
  disconnect();
  expect(await reload([a])).toEqual({ applied: ['export b: removed'], notApplied: [] });
});

test('a disk gets another name, unless clients use it under the old one', async () => {
  const a = disk('a', { bitmaps: [{ name: 'nightly' }] });
  const { reload, names, connect } = await serve(a);
  const disconnect = connect('a');
  expect(await reload([{ ...a, name: 'new' }])).toEqual({
    applied: [],
    notApplied: [
      { setting: 'export a', why: '"a" has 1 client: 7 (unix)' },
      { setting: 'export new', why: expect.stringContaining('as "a"') },
    ],
  });
  expect(names()).toEqual(['a']);
  disconnect();
  expect(await reload([{ ...a, name: 'new' }])).toEqual({
    applied: ['export a: removed', 'export new: added'],
    notApplied: [],
  });
  expect(names()).toEqual(['new']);
});

test('a bitmap that cannot be added is reported, and the rest is applied', async () => {
  const [a, b] = [disk('a'), disk('b')];
  const { reload } = await serve(a);
  const bitmaps = [{ name: 'odd', granularityBytes: 1000 }, { name: 'nightly' }];
  expect(await reload([{ ...a, bitmaps }, b])).toEqual({
    applied: ['export b: added', 'export a: bitmap nightly added'],
    notApplied: [{ setting: 'export a', why: 'bitmap odd: Granularity must be power of 2 and at least 512' }],
  });
});

test('an export that a command has added belongs to the file once it is there', async () => {
  const [a, b] = [disk('a'), disk('b')];
  const { reload, exports, opener } = await serve(a);
  const keep = () => opener.kept.keep(b, 'me');
  await exports.add(b, { origin: 'kept', beforeServing: keep });
  expect(await reload([a, { ...b, path: makeImage(MIB) }])).toMatchObject({
    applied: [],
    notApplied: [{ setting: 'export b', why: expect.stringContaining('a command has added') }],
  });
  expect(opener.kept.has('b')).toBe(true);
  expect(await reload([a, b])).toEqual({ applied: ['export b: is in the configuration now'], notApplied: [] });
  expect([exports.originOf(exports.get('b')), opener.kept.list()]).toEqual(['file', []]);
  expect(await reload([a])).toEqual({ applied: ['export b: removed'], notApplied: [] });
});

test('a kept export that could not be opened is tried again, and one that the file has now is forgotten', async () => {
  const [a, b, c] = [disk('a'), disk('b'), disk('c')];
  const { reload, names, opener } = await serve(a);
  for (const spec of [b, c]) {
    await opener.kept.keep(spec, 'me');
    opener.kept.noteProblem(spec.name, 'it was missing');
  }
  renameSync(b.path, `${b.path}.away`);
  expect(await reload([a, c])).toEqual({
    applied: ['export c: added'],
    notApplied: [{ setting: 'export b', why: expect.stringContaining(b.path) }],
  });
  expect(opener.kept.list().map(({ spec }) => spec.name)).toEqual(['b']);
  expect(existsSync(b.path)).toBe(false);
  renameSync(`${b.path}.away`, b.path);
  expect(await reload([a, c])).toEqual({ applied: ['export b: served again'], notApplied: [] });
  expect(names()).toEqual(['a', 'c', 'b']);
  expect(opener.kept.unserved()).toEqual([]);
});

test('an export that was removed by a command comes back, as the file says now', async () => {
  const a = disk('a');
  const { reload, exports } = await serve(a);
  expect(await reload([{ ...a, readOnly: true }])).toMatchObject({
    applied: [],
    notApplied: [{ setting: 'export a', why: expect.stringContaining('keeps its readonly') }],
  });
  await exports.remove('a');
  expect(await reload([{ ...a, readOnly: true }])).toEqual({ applied: ['export a: added'], notApplied: [] });
  expect(exports.get('a').readOnly).toBe(true);
});

test('an export that is removed while others are opened is not missed', async () => {
  const [a, b, c] = [disk('a'), disk('b'), disk('c')];
  const { reload, exports, names } = await serve(a, b);
  const reloaded = reload([{ ...a, description: 'changed' }, c]);
  const removed = Promise.all(['a', 'b'].map((name) => exports.remove(name)));
  expect(await reloaded).toMatchObject({ notApplied: [] });
  await removed;
  expect(names()).toEqual(['c']);
});

test('a bug is not taken for a refusal', async () => {
  const { reload, exports } = await serve(disk('a'));
  vi.spyOn(exports, 'remove').mockRejectedValueOnce(new TypeError('a bug'));
  const failed = reload([]);
  await expect(failed).rejects.toThrow('a bug');
  await expect(failed).rejects.not.toBeInstanceOf(CodedError);
});
