import { expect, test, vi } from 'vitest';
import { BackupServer, type Described } from '../support/backup-server.js';

const remove = (server: BackupServer, name = 'disk') => server.ask('DELETE', `/v1/exports/${name}?force=true`);

/** Serves a removed disk again. */
const addAgain = (server: BackupServer) => server.exports.add({ name: 'disk', path: 'memory' });

test('removing an export by force aborts its backups, and no change is missed', async () => {
  const server = await BackupServer.start();
  const base = await server.committed();
  await server.write([1]);
  const [nightly, weekly] = [await server.begin(), await server.begin({ bitmap: 'weekly' })];
  await server.write([2]);
  server.events.length = 0;
  expect((await remove(server)).status).toBe(204);
  for (const backup of [nightly, weekly]) {
    expect(await server.look(backup)).toMatchObject({
      ...{ state: 'aborted', endReason: 'export-removed', endDetail: 'the export "disk" was removed' },
    });
  }
  expect(server.events).toMatchObject([
    { type: 'backup-aborted', backup: nightly.id, reason: 'export-removed' },
    { type: 'backup-aborted', backup: weekly.id, reason: 'export-removed' },
    { type: 'export-removed', export: 'disk' },
  ]);
  expect([server.exports.listServed(), server.scratch.devices]).toEqual([[], []]);
  await addAgain(server);
  expect((await server.ask('GET', '/v1/exports/disk/bitmaps/weekly')).status).toBe(404);
  expect(await server.viewDirty(await server.begin({ since: base.id }))).toEqual([1, 2]);
});

test('a backup of several exports ends when one is removed, and the others are still served', async () => {
  const server = await BackupServer.start({ disks: { disk: {}, other: {} } });
  const exports = ['disk', 'other'];
  const base = await server.committed({ exports });
  const backup = await server.begin({ exports });
  await server.write([3], 'x', 'other');
  await remove(server);
  expect(await server.look(backup)).toMatchObject({ endReason: 'export-removed' });
  expect(server.views()).toEqual([]);
  const next = await server.begin({ exports: ['other'], since: base.id });
  expect(await server.viewDirty(next, 'other')).toEqual([3]);
});

test('an export without an active backup is removed without force', async () => {
  const server = await BackupServer.start();
  await server.committed();
  await server.abort(await server.begin());
  expect((await server.ask('DELETE', '/v1/exports/disk')).status).toBe(204);
});

test('an export can be removed by force while its backup is being committed', async () => {
  const server = await BackupServer.start();
  const backup = await server.begin();
  const [committed, removed] = await Promise.all([server.commit(backup), remove(server)]);
  expect(committed.state).toBe('committed');
  expect(removed.status).toBe(204);
  await addAgain(server);
  expect(await server.bitmap()).toMatchObject({ base: backup.id });
});

test.each([false, true])('a removal waits for a backup that is beginning (force: %j)', async (force) => {
  const server = await BackupServer.start();
  const open = server.scratch.open.bind(server.scratch);
  let proceed = () => {};
  const held = new Promise<void>((resolve) => {
    proceed = resolve;
  });
  const opening = vi.spyOn(server.scratch, 'open').mockImplementation(async (sizeBytes) => {
    await held;
    return open(sizeBytes);
  });
  const begun = server.begin();
  await expect.poll(() => opening.mock.calls.length).toBe(1);
  const removed = server.ask('DELETE', `/v1/exports/disk?force=${force}`);
  await Promise.resolve();
  proceed();
  const backup: Described = await begun;
  expect((await removed).status).toBe(force ? 204 : 409);
  expect(await server.look(backup)).toMatchObject({ state: force ? 'aborted' : 'active' });
});

test('a removal that is refused leaves the export as it was', async () => {
  const server = await BackupServer.start();
  const backup = await server.begin();
  expect((await server.ask('DELETE', '/v1/exports/disk')).status).toBe(409);
  await server.begin({ bitmap: 'weekly' });
  await server.write([1]);
  await server.commit(backup);
  expect(await server.dirty()).toEqual([1]);
});

test('a refused removal does not weaken another one in progress: no backup can begin in between', async () => {
  const server = await BackupServer.start();
  await server.begin();
  const refused = server.backups.leave('disk', false);
  const forced = server.backups.leave('disk', true);
  await expect(refused).rejects.toMatchObject({ code: 'EXPORT_IN_USE' });
  const stay = await forced;
  expect(await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' })).toMatchObject({
    status: 404,
  });
  stay();
  // Releasing it twice does not affect the other removal either.
  const again = await server.backups.leave('disk', true);
  stay();
  expect((await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' })).status).toBe(404);
  again();
  await server.begin();
});

test.each([['disk'], ['disk', 'other']])('a backup whose export is gone can be aborted: %s, %s', async (...exports) => {
  const server = await BackupServer.start({ disks: { disk: {}, other: {} } });
  const base = await server.committed({ exports });
  await server.write([1]);
  const backup = await server.begin({ exports });
  await server.write([2]);
  await server.exports.remove('disk');
  expect((await server.ask('POST', `/v1/backups/${backup.id}/commit`)).status).toBe(404);
  expect(await server.abort(backup)).toMatchObject({ state: 'aborted' });
  expect(server.views()).toEqual([]);
  await addAgain(server);
  expect(await server.viewDirty(await server.begin({ exports, since: base.id }))).toEqual([1, 2]);
  await server.restart();
  expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'asked' });
});
