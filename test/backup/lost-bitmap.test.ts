import { expect, onTestFinished, test, vi } from 'vitest';
import { Patience } from '../../src/export/patience.js';
import { BackupServer, type Described } from '../support/backup-server.js';
import { insideOf } from '../support/inside.js';
import { expectProblem } from '../support/problem.js';

const detail = 'a write could not be recorded, so its bitmap is inconsistent';

/** A backup whose bitmap has become inconsistent since the last turn of the clock. */
async function lost(server: BackupServer): Promise<Described> {
  await server.committed();
  await server.write([1]);
  const backup = await server.begin();
  insideOf(server.exports.get('disk')).bitmaps.get('nightly').markInconsistent('the store failed');
  return backup;
}

test('a backup whose bitmap has become inconsistent is not committed', async () => {
  const server = await BackupServer.start();
  const backup = await lost(server);
  expectProblem(
    await server.ask('POST', `/v1/backups/${backup.id}/commit`),
    'BACKUP_ENDED',
    `backup ${backup.id} was aborted (bitmap-inconsistent: ${detail}) and cannot be committed`,
  );
  await server.pass(0);
  expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'bitmap-inconsistent' });
});

test('its end does not affect a backup that has replaced the bitmap', async () => {
  const server = await BackupServer.start();
  const [first, second] = [await lost(server), await server.begin()];
  await server.write([2]);
  expect((await server.ask('POST', `/v1/backups/${first.id}/commit`)).status).toBe(409);
  expect(await server.bitmap()).toMatchObject({ base: null, busy: true });
  await server.abort(first);
  await server.pass(0);
  expect(await server.look(second)).toMatchObject({ state: 'active' });
  await server.commit(second);
  expect(await server.bitmap()).toMatchObject({ base: second.id });
  expect(await server.dirty()).toEqual([2]);
});

test('the clock ends it even if the bitmap was removed or added again', async () => {
  const server = await BackupServer.start();
  const backup = await lost(server);
  await server.call('DELETE', '/v1/exports/disk/bitmaps/nightly');
  await server.call('POST', '/v1/exports/disk/bitmaps', { name: 'nightly' });
  await server.pass(0);
  expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'bitmap-inconsistent' });
  expect(await server.bitmap()).toMatchObject({ base: null, inconsistent: false });
});

test('until then its view can be read, but reports nothing as clean', async () => {
  const server = await BackupServer.start();
  const backup = await lost(server);
  await expect(server.viewDirty(backup)).rejects.toThrow('expected 5 to be +0');
});

test('a write that cannot be recorded ends the backup when writes may continue', async () => {
  const server = await BackupServer.start({ onBitmapError: 'continue' });
  await server.committed();
  const backup = await server.begin();
  server.store.failWith = 28;
  await server.write([4]);
  server.store.failWith = undefined;
  await server.pass(0);
  expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'bitmap-inconsistent' });
  expect(await server.bitmap()).toMatchObject({
    inconsistent: true,
    inconsistentReason: 'a write could not be recorded in the store: ENOSPC',
  });
});

test('a commit that has to wait does not end a backup that has replaced the bitmap meanwhile', async () => {
  const server = await BackupServer.start({ disks: { a: {}, b: {} } });
  await server.committed({ exports: ['a', 'b'] });
  const first = await server.begin({ exports: ['a', 'b'] });
  let free = () => {};
  const patience = new Patience(60);
  onTestFinished(() => patience.end());
  const held = server.exports.get('a').inTurn(
    () =>
      new Promise<void>((resolve) => {
        free = resolve;
      }),
    patience,
  );
  const waits = vi.spyOn(server.exports.get('a'), 'inTurn');
  const committed = server.ask('POST', `/v1/backups/${first.id}/commit`);
  await expect.poll(() => waits.mock.calls.length).toBe(1);
  insideOf(server.exports.get('b')).bitmaps.get('nightly').markInconsistent('the store failed');
  await server.write([5], 'z', 'b');
  const second = await server.begin({ exports: ['b'] });
  free();
  await held;
  expectProblem(
    await committed,
    'BACKUP_ENDED',
    `backup ${first.id} was aborted (bitmap-inconsistent: ${detail}) and cannot be committed`,
  );
  await server.commit(second);
  expect(await server.bitmap('nightly', 'b')).toMatchObject({ base: second.id, inconsistent: false });
  await server.pass(0);
  expect(await server.look(first)).toMatchObject({ state: 'aborted' });
});
