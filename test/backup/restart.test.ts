import { describe, expect, test, vi } from 'vitest';
import { Backups } from '../../src/backup/backups.js';
import { BackupServer, type Described, GRANULE, underWay } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';
import { expectProblem } from '../support/problem.js';

const hint = 'check that the state directory is writable and its disk is not full, then try again';

/** After a crash more may be dirty than was written, but not what is far from it. */
function expectCovers(dirty: readonly number[], written: readonly number[]): void {
  expect(dirty).toEqual(expect.arrayContaining([...written]));
  expect(dirty).not.toContain(15);
}

describe('a server that comes back', () => {
  const detail = 'the server was started again while the backup was under way';

  test('has aborted the backups in progress, and missed no change', async () => {
    const { server, base, backup } = await underWay();
    await server.restart();
    const after = await server.look(backup);
    expect(after).toMatchObject({ state: 'aborted', endReason: 'server-restarted', endDetail: detail });
    expect(after.exports).toEqual(backup.exports);
    expect(server.views()).toEqual([]);
    const next = await server.begin({ since: base.id });
    expect(next.exports).toMatchObject([{ mode: 'incremental', base: base.id }]);
    expectCovers(await server.viewDirty(next), [1, 2]);
  });

  test('gives the same answers after another restart', async () => {
    const { server, backup } = await underWay();
    await server.restart();
    const after = await server.look(backup);
    vi.advanceTimersByTime(5000);
    await server.restart();
    expect(await server.look(backup)).toEqual(after);
    expect(await server.abort(backup)).toEqual(after);
    expectProblem(
      await server.ask('POST', `/v1/backups/${backup.id}/commit`),
      'BACKUP_ENDED',
      `backup ${backup.id} was aborted (server-restarted: ${detail}) and cannot be committed`,
      'begin another; it covers the same changes',
    );
  });

  test('knows about a commit, and repeats the answer that was lost', async () => {
    const { server, backup } = await underWay();
    const after = await server.commit(backup);
    await server.write([7]);
    await server.restart();
    expect(await server.commit(backup)).toEqual(after);
    expect(await server.bitmap()).toMatchObject({ base: backup.id });
    expectCovers(await server.dirty(), [2, 7]);
    expect((await server.ask('POST', `/v1/backups/${backup.id}/abort`)).document).toMatchObject({
      detail: `backup ${backup.id} was committed and cannot be aborted`,
    });
  });

  test.each([true, false])('has the bitmap of a backup that was committed (%j)', async (committed) => {
    const server = await BackupServer.start();
    const backup = await server.begin();
    if (committed) await server.commit(backup);
    await server.restart();
    const { bitmaps } = await server.call<{ bitmaps: object[] }>('GET', '/v1/exports/disk/bitmaps');
    expect(bitmaps).toMatchObject(committed ? [{ name: 'nightly', base: backup.id }] : []);
  });

  test('still knows how backups ended, oldest first, and forgets the oldest of many', async () => {
    const server = await BackupServer.start();
    const open = await server.begin({ bitmap: 'slow' });
    const ids: string[] = [];
    for (let i = 0; i < 210; i++) {
      vi.advanceTimersByTime(1000);
      ids.push((await server.committed()).id);
    }
    const listed = async () =>
      (await server.call<{ backups: Described[] }>('GET', '/v1/backups')).backups.map(({ id }) => id);
    const known = await listed();
    expect(known[0]).toBe(open.id);
    expect(known.slice(1)).toEqual(ids.slice(-known.length + 1));
    expect(known.length).toBeGreaterThanOrEqual(200);
    expect(known.length).toBeLessThan(205);
    expect((await server.ask('GET', `/v1/backups/${ids[0]}`)).status).toBe(404);
    await server.restart();
    expect(await listed()).toEqual(known);
    expect(await server.look(open)).toMatchObject({ state: 'aborted' });
  });
});

test('a server that stops aborts the backups in progress', async () => {
  const { server, base, backup } = await underWay();
  const view = server.view(backup);
  await server.stop();
  expect(view.closing).toBe(true);
  expect(server.scratch.devices).toEqual([]);
  expect(server.events.at(-1)).toMatchObject({ type: 'backup-aborted', reason: 'server-stopped', backup: backup.id });
  await server.restart();
  expect(await server.look(backup)).toMatchObject({
    ...{ state: 'aborted', endReason: 'server-stopped', endDetail: 'the server was stopped' },
  });
  expect(await server.viewDirty(await server.begin({ since: base.id }))).toEqual([1, 2]);
});

describe('while the store fails', () => {
  const unusable = 'the change could not be stored and was undone: the store fails';
  const inDoubt =
    'the change could not be stored or undone; after a crash it may or may not be in effect: the store fails';

  function failOnce(server: BackupServer): void {
    vi.spyOn(server.store, 'commit').mockRejectedValueOnce(new Error('the store fails'));
  }

  test.each(['commit', 'abort'])('a %s leaves the backup active, and works once the store does', async (verb) => {
    const { server, backup } = await underWay();
    const url = `/v1/backups/${backup.id}/${verb}`;
    failOnce(server);
    expectProblem(await server.ask('POST', url), 'STORE_UNUSABLE', unusable, hint);
    server.store.failWith = 28;
    expectProblem(await server.ask('POST', url), 'STORE_IN_DOUBT', inDoubt, hint);
    expect(await server.look(backup)).toMatchObject({ state: 'active', expiresAt: backup.expiresAt });
    const { device } = server.view(backup);
    expect(
      (await contentOf(device, GRANULE, 2 * GRANULE)).equals(
        Buffer.alloc(2 * GRANULE)
          .fill('b', 0, GRANULE)
          .fill('a', GRANULE),
      ),
    ).toBe(true);
    expect(await server.viewDirty(backup)).toEqual([1]);
    server.store.failWith = undefined;
    expect(await server.call('POST', url)).toMatchObject({ state: verb === 'commit' ? 'committed' : 'aborted' });
    expect(await server.dirty()).toEqual(verb === 'commit' ? [2] : [1, 2]);
  });

  test('a commit that was undone is not in effect after a crash', async () => {
    const { server, base, backup } = await underWay();
    failOnce(server);
    expect((await server.ask('POST', `/v1/backups/${backup.id}/commit`)).status).toBe(503);
    await server.restart();
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'server-restarted' });
    expectCovers(await server.viewDirty(await server.begin({ since: base.id })), [1, 2]);
  });

  test('no backup begins, and nothing of it is left', async () => {
    const { server, base, backup } = await underWay();
    await server.abort(backup);
    failOnce(server);
    const answer = await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
    expectProblem(answer, 'STORE_UNUSABLE', unusable, hint);
    const made = await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'new' });
    expect(made.status).toBe(201);
    expect(server.views()).toEqual([`disk@${(made.document as Described).id}`]);
    expect(server.scratch.devices).toHaveLength(1);
    expect(await server.bitmap()).toMatchObject({ base: base.id, busy: false });
    expect((await server.call<{ backups: object[] }>('GET', '/v1/backups')).backups).toHaveLength(3);
  });

  test('an expired backup is aborted later, and cannot be committed or renewed until then', async () => {
    const { server, backup } = await underWay();
    server.store.failWith = 28;
    await server.pass(60);
    await server.pass(1);
    const tried = server.logged.lines.filter(({ level }) => level === 'error');
    expect(tried).toMatchObject(Array(2).fill({ message: 'a backup could not be aborted; the server will try again' }));
    expect(await server.look(backup)).toMatchObject({ state: 'active' });
    for (const [verb, what] of [
      ['commit', 'committed'],
      ['renew', 'renewed'],
    ]) {
      const detail = `backup ${backup.id} was aborted (expired: its lease of 60 s ran out) and cannot be ${what}`;
      expectProblem(await server.ask('POST', `/v1/backups/${backup.id}/${verb}`), 'BACKUP_ENDED', detail);
    }
    server.store.failWith = undefined;
    await server.pass(1);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'expired' });
    expect(await server.dirty()).toEqual([1, 2]);
  });

  test('a server that stops leaves the abort to its next start, and says so', async () => {
    const { server, backup } = await underWay();
    server.store.failWith = 28;
    await server.backups.close();
    expect(server.logged.lines.at(-1)).toMatchObject({
      ...{ level: 'error', message: 'a backup could not be aborted; the next start will abort it' },
    });
    server.store.failWith = undefined;
    await server.restart();
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'server-restarted' });
  });

  test('a server that cannot record how backups ended does not start', async () => {
    const { server } = await underWay();
    const { exports, store, scratch, logged } = server;
    store.failWith = 28;
    const opened = Backups.open({ exports, store, scratch, log: logged.log, publish: () => {} });
    await expect(opened).rejects.toMatchObject({
      code: 'STORE_UNUSABLE',
      message: 'the backups that ended with the last server cannot be stored as aborted: the store fails',
    });
  });
});
