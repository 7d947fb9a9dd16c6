import { describe, expect, test, vi } from 'vitest';
import { CodedError } from '../../src/base/coded-error.js';
import { BackupServer, type Described, GRANULE, GRANULES } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';

const names = ['a', 'b', 'c'];
const disks = { a: {}, b: {}, c: {} };

/** Checks that nothing is left of a backup that did not begin. */
async function expectUntouched(server: BackupServer, before: unknown): Promise<void> {
  expect(server.views()).toEqual([]);
  expect(server.scratch.devices).toEqual([]);
  expect(server.events.filter(({ type }) => type.startsWith('backup'))).toEqual([]);
  expect(await server.call('GET', '/v1/exports')).toEqual(before);
  expect((await server.call<{ backups: object[] }>('GET', '/v1/backups')).backups).toEqual([]);
  for (const name of names) await server.write([0], 'x', name);
}

describe('a backup of several exports does not begin when one of them refuses it', () => {
  const addBitmap = (server: BackupServer, name: string, wanted: object) =>
    server.call('POST', `/v1/exports/${name}/bitmaps`, { name: 'nightly', ...wanted });

  test.each(names)('%s has its bitmap disabled', async (name) => {
    const server = await BackupServer.start({ disks });
    await addBitmap(server, name, { disabled: true });
    const before = await server.call('GET', '/v1/exports');
    const answer = await server.ask('POST', '/v1/backups', { exports: names, bitmap: 'nightly' });
    expect(answer).toMatchObject({ status: 409, document: { code: 'BITMAP_DISABLED' } });
    await expectUntouched(server, before);
  });

  test('one has another base', async () => {
    const server = await BackupServer.start({ disks });
    const first = await server.committed({ exports: ['a', 'b'] });
    await server.call('POST', '/v1/exports/b/bitmaps/nightly/clear');
    const answer = await server.ask('POST', '/v1/backups', {
      ...{ exports: ['a', 'b'], bitmap: 'nightly', since: first.id },
    });
    expect(answer.document).toMatchObject({
      code: 'BASE_MISMATCH',
      detail: `bitmap 'nightly' of "b" does not count from backup ${first.id}: it has no base: it was cleared since the last backup`,
    });
    expect(await server.bitmap('nightly', 'a')).toMatchObject({ base: first.id, busy: false });
  });

  /** Calls `then` when the scratch of the last export is created: after the exports were checked and before the cut. */
  function betweenLookAndCut(server: BackupServer, then: () => unknown): void {
    const open = server.scratch.open.bind(server.scratch);
    let left = names.length;
    vi.spyOn(server.scratch, 'open').mockImplementation(async (sizeBytes) => {
      if (--left === 0) await then();
      return open(sizeBytes);
    });
  }

  test('one bitmap is disabled meanwhile', async () => {
    const server = await BackupServer.start({ disks });
    for (const name of names) await addBitmap(server, name, {});
    let before: unknown;
    betweenLookAndCut(server, async () => {
      await server.call('POST', '/v1/exports/c/bitmaps/nightly/disable');
      before = await server.call('GET', '/v1/exports');
    });
    const answer = await server.ask('POST', '/v1/backups', { exports: names, bitmap: 'nightly' });
    expect(answer).toMatchObject({ status: 409, document: { code: 'BITMAP_DISABLED' } });
    await expectUntouched(server, before);
  });

  test('one is resized meanwhile', async () => {
    const server = await BackupServer.start({ disks });
    let before: unknown;
    betweenLookAndCut(server, async () => {
      await server.call('POST', '/v1/exports/a/resize', { sizeBytes: 2 * GRANULES * GRANULE });
      before = await server.call('GET', '/v1/exports');
    });
    const answer = await server.ask('POST', '/v1/backups', { exports: names, bitmap: 'nightly' });
    expect(answer).toMatchObject({
      status: 400,
      document: {
        ...{ code: 'BACKUP_INVALID', detail: '"a" was resized while the backup began', hint: 'begin it again' },
      },
    });
    await expectUntouched(server, before);
  });

  test('there is no scratch for one', async () => {
    const server = await BackupServer.start({ disks });
    const before = await server.call('GET', '/v1/exports');
    betweenLookAndCut(server, () => {
      throw new CodedError('SCRATCH_UNUSABLE', 'no more');
    });
    const answer = await server.ask('POST', '/v1/backups', { exports: names, bitmap: 'nightly' });
    expect(answer).toMatchObject({ status: 503, document: { code: 'SCRATCH_UNUSABLE', detail: 'no more' } });
    await expectUntouched(server, before);
  });
});

describe('a backup of several exports', () => {
  test('treats each export separately, and all end together', async () => {
    const server = await BackupServer.start({ disks });
    const first = await server.committed({ exports: ['a', 'b'] });
    await server.write([1], 'x', 'a');
    await server.write([2], 'x', 'b');
    const second = await server.begin({ exports: ['c', 'a', 'b'] });
    expect(second.exports).toMatchObject([
      { export: 'c', view: `c@${second.id}`, mode: 'full', fullReason: { code: 'no-such-bitmap' } },
      { export: 'a', view: `a@${second.id}`, mode: 'incremental', base: first.id },
      { export: 'b', view: `b@${second.id}`, mode: 'incremental', base: first.id },
    ]);
    expect(second.exports[1]).toMatchObject({
      uri: `nbd://127.0.0.1:10809/a@${second.id}`,
      context: 'qemu:dirty-bitmap:nightly',
    });
    expect(await server.viewDirty(second, 'a')).toEqual([1]);
    expect(await server.viewDirty(second, 'b')).toEqual([2]);
    await server.commit(second);
    for (const name of names) expect(await server.bitmap('nightly', name)).toMatchObject({ base: second.id });
    const third = await server.begin({ exports: names, since: second.id });
    expect(third.exports.map(({ dirtyBytes }) => dirtyBytes)).toEqual([0, 0, 0]);
  });

  test('publishes an event when it has begun', async () => {
    const server = await BackupServer.start({ disks });
    const { id, startedAt } = await server.begin({ exports: ['c', 'a'] });
    expect(server.events).toEqual([
      {
        ...{ id: 1, type: 'backup-begun', at: startedAt, by: 'unix socket' },
        ...{ backup: id, bitmap: 'nightly', exports: ['c', 'a'], heldWrites: expect.objectContaining({ count: 0 }) },
        parts: ['c', 'a'].map((name) => ({
          ...{ export: name, mode: 'full', estimatedReadBytes: expect.any(Number) },
          fullReason: expect.objectContaining({ code: 'no-such-bitmap' }),
        })),
      },
    ]);
  });

  test('begins on all exports or none when two begin at once, in whatever order they are named', async () => {
    const server = await BackupServer.start({ disks });
    const begin = (exports: string[]) => server.ask('POST', '/v1/backups', { exports, bitmap: 'nightly' });
    const answers = await Promise.all([begin(['a', 'b', 'c']), begin(['c', 'b', 'a'])]);
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
    expect(server.views()).toHaveLength(3);
    expect(server.scratch.devices).toHaveLength(3);
    const begun = answers.find(({ status }) => status === 201)!.document as Described;
    await server.commit(begun);
    expect(server.views()).toEqual([]);
  });
});

describe('two agents with a bitmap each', () => {
  test('each see the disk at their own time, and do not affect each other', async () => {
    const server = await BackupServer.start();
    await server.write([0, 1, 2], 'a');
    for (const bitmap of ['nightly', 'weekly']) await server.committed({ bitmap });
    await server.write([0], 'b');
    const nightly = await server.begin();
    await server.write([1], 'c');
    const weekly = await server.begin({ bitmap: 'weekly' });
    await server.write([0, 1, 2], 'd');
    const letters = async (backup: Described) => {
      const content = await contentOf(server.view(backup).device, 0, 3 * GRANULE);
      return [0, 1, 2].map((granule) => String.fromCharCode(content[granule * GRANULE]!)).join('');
    };
    expect([await letters(nightly), await letters(weekly)]).toEqual(['baa', 'bca']);
    expect([await server.viewDirty(nightly), await server.viewDirty(weekly)]).toEqual([[0], [0, 1]]);
    await server.commit(nightly);
    expect(await letters(weekly)).toBe('bca');
    expect(await server.dirty()).toEqual([0, 1, 2]);
    expect(await server.bitmap('weekly')).toMatchObject({ busy: true });
    await server.abort(weekly);
    expect(await server.dirty('weekly')).toEqual([0, 1, 2]);
    expect(await server.bitmap()).toMatchObject({ base: nightly.id });
  });

  test('keep their chains when the other loses its own', async () => {
    const server = await BackupServer.start();
    const [nightly] = [await server.committed(), await server.committed({ bitmap: 'weekly' })];
    await server.call('POST', '/v1/exports/disk/bitmaps/weekly/clear');
    expect((await server.begin({ bitmap: 'weekly' })).exports).toMatchObject([{ mode: 'full' }]);
    expect((await server.begin({ since: nightly.id })).exports).toMatchObject([{ mode: 'incremental' }]);
  });
});
