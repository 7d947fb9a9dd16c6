import { describe, expect, test } from 'vitest';
import { allGranules, BackupServer, GRANULE, GRANULES } from '../support/backup-server.js';
import { put } from '../support/device-content.js';
import { insideOf } from '../support/inside.js';
import { expectProblem } from '../support/problem.js';

const DISK_BYTES = GRANULES * GRANULE;
const GONE = '20200101-000000-abcd';
const url = '/v1/exports/disk/bitmaps';

/** Ways in which a bitmap loses its base, and the reason that is reported. */
const losses: [string, (server: BackupServer) => Promise<unknown>, string][] = [
  ['cleared', (server) => server.call('POST', `${url}/nightly/clear`), 'it was cleared since the last backup'],
  [
    'merged into',
    async (server) => {
      await server.call('POST', url, { name: 'other' });
      await server.call('POST', `${url}/nightly/merge`, { sources: ['other'] });
    },
    'another bitmap was merged into it since the last backup',
  ],
  [
    'disabled',
    async (server) => {
      await server.call('POST', `${url}/nightly/disable`);
      await server.call('POST', `${url}/nightly/enable`);
    },
    'it was disabled since the last backup, so writes may be missing',
  ],
  [
    'removed and added again',
    async (server) => {
      await server.call('DELETE', `${url}/nightly`);
      await server.call('POST', url, { name: 'nightly' });
    },
    'no backup has been committed with it yet',
  ],
];

function breakBitmap(server: BackupServer): void {
  insideOf(server.exports.get('disk')).bitmaps.get('nightly').markInconsistent('somebody else wrote the image');
}

/** What every full backup reports, whatever the reason. */
const everything = { mode: 'full', base: null, sizeBytes: DISK_BYTES, dirtyBytes: DISK_BYTES };

describe('a backup is full, and says why', () => {
  test('when the bitmap does not exist, and it creates the bitmap', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin();
    const detail = "there was no bitmap 'nightly'; it records from now on";
    expect(backup.exports).toMatchObject([{ ...everything, fullReason: { code: 'no-such-bitmap', detail } }]);
    expect(await server.viewDirty(backup)).toEqual(allGranules);
    expect(await server.bitmap()).toMatchObject({ busy: true, persistent: true, granularityBytes: GRANULE });
  });

  test('when no backup was committed with it', async () => {
    const server = await BackupServer.start();
    await server.call('POST', url, { name: 'nightly', granularityBytes: 4096 });
    const detail = "bitmap 'nightly' has no base: no backup has been committed with it yet";
    const reason = { fullReason: { code: 'no-base', detail }, granularityBytes: 4096 };
    const backup = await server.begin();
    expect(backup.exports).toMatchObject([{ ...everything, ...reason }]);
    await server.abort(backup);
    expect((await server.begin()).exports, 'an aborted one is none').toMatchObject([{ ...everything, ...reason }]);
  });

  test('when a full backup was requested, and it still becomes the base', async () => {
    const server = await BackupServer.start();
    const first = await server.committed();
    const second = await server.begin({ full: true, since: first.id });
    const fullReason = { code: 'asked-for', detail: 'a full backup was asked for' };
    expect(second.exports).toMatchObject([{ ...everything, fullReason }]);
    expect(await server.viewDirty(second)).toEqual(allGranules);
    await server.commit(second);
    expect(await server.bitmap()).toMatchObject({ base: second.id });
  });

  test.each([
    [false, 'its base is BASE'],
    [true, 'it has no base: it was cleared since the last backup'],
  ])('when the agent has another base and prefers a full backup (lost: %j)', async (lost, why) => {
    const server = await BackupServer.start();
    const first = await server.committed();
    if (lost) await server.call('POST', `${url}/nightly/clear`);
    const { exports } = await server.begin({ full: true, since: GONE });
    const detail = `bitmap 'nightly' of "disk" does not count from backup ${GONE}: ${why.replace('BASE', first.id)}`;
    expect(exports).toMatchObject([{ ...everything, fullReason: { code: 'base-mismatch', detail } }]);
  });

  test.each(losses)('when the bitmap was %s', async (_how, lose, why) => {
    const server = await BackupServer.start();
    await server.committed();
    await lose(server);
    expect(await server.bitmap()).toMatchObject({ base: null });
    const detail = `bitmap 'nightly' has no base: ${why}`;
    expect((await server.begin()).exports).toMatchObject([{ ...everything, fullReason: { code: 'no-base', detail } }]);
  });

  test('when the bitmap is inconsistent, and it replaces the bitmap', async () => {
    const server = await BackupServer.start();
    await server.call('POST', url, { name: 'nightly', granularityBytes: 4096 });
    await server.committed();
    breakBitmap(server);
    expect(await server.bitmap()).toMatchObject({ base: null, inconsistent: true });
    const backup = await server.begin();
    const detail = "bitmap 'nightly' is inconsistent: somebody else wrote the image";
    const part = { ...everything, fullReason: { code: 'inconsistent', detail }, granularityBytes: 4096 };
    expect(backup.exports).toMatchObject([part]);
    await server.write([3]);
    await server.commit(backup);
    expect(await server.bitmap()).toMatchObject({ base: backup.id, inconsistent: false, recording: true });
    expect(await server.dirty()).toEqual([3]);
  });
});

describe('a base that the bitmap does not have is refused', () => {
  const wanted = { exports: ['disk'], bitmap: 'nightly', since: GONE };
  const says = `bitmap 'nightly' of "disk" does not count from backup ${GONE}: `;
  const hint = 'take a full backup (--full), or give the base it has';

  test('because the bitmap has another base', async () => {
    const server = await BackupServer.start();
    const { id } = await server.committed();
    expectProblem(await server.ask('POST', '/v1/backups', wanted), 'BASE_MISMATCH', `${says}its base is ${id}`, hint);
    expect(server.views()).toEqual([]);
    expect(await server.bitmap()).toMatchObject({ base: id, busy: false });
  });

  test('because the bitmap does not exist, and none is created', async () => {
    const server = await BackupServer.start();
    const answer = await server.ask('POST', '/v1/backups', wanted);
    expectProblem(answer, 'BASE_MISMATCH', `${says}there is no such bitmap`, hint);
    expect((await server.ask('GET', `${url}/nightly`)).status).toBe(404);
  });

  test('because the bitmap is inconsistent', async () => {
    const server = await BackupServer.start();
    const { id } = await server.committed();
    breakBitmap(server);
    const answer = await server.ask('POST', '/v1/backups', { ...wanted, since: id });
    const detail = says.replace(GONE, id);
    expectProblem(answer, 'BASE_MISMATCH', `${detail}it is inconsistent: somebody else wrote the image`, hint);
  });

  test.each(losses)('because the bitmap was %s, even if it once had that base', async (_how, lose, why) => {
    const server = await BackupServer.start();
    const { id } = await server.committed();
    await lose(server);
    const answer = await server.ask('POST', '/v1/backups', { ...wanted, since: id });
    expectProblem(answer, 'BASE_MISMATCH', `${says.replace(GONE, id)}it has no base: ${why}`, hint);
  });

  test('because the bitmap never had a base', async () => {
    const server = await BackupServer.start();
    await server.call('POST', url, { name: 'nightly' });
    const answer = await server.ask('POST', '/v1/backups', wanted);
    expectProblem(answer, 'BASE_MISMATCH', `${says}it has no base: no backup has been committed with it yet`, hint);
  });

  test('because that backup was aborted', async () => {
    const server = await BackupServer.start();
    const base = await server.committed();
    const { id } = await server.abort(await server.begin());
    const answer = await server.ask('POST', '/v1/backups', { ...wanted, since: id });
    expectProblem(answer, 'BASE_MISMATCH', `${says.replace(GONE, id)}its base is ${base.id}`, hint);
  });
});

test('each backup in a chain contains what changed since the last one, and nothing else', async () => {
  const server = await BackupServer.start();
  await server.write([1, 2]);
  const first = await server.committed();
  await server.write([5]);
  const second = await server.begin({ since: first.id });
  expect(second.exports).toMatchObject([
    { mode: 'incremental', base: first.id, dirtyBytes: GRANULE, estimatedReadBytes: GRANULE },
  ]);
  expect(second.exports[0]).not.toHaveProperty('fullReason');
  await server.write([7]);
  expect(await server.viewDirty(second)).toEqual([5]);
  await server.commit(second);
  const third = await server.begin();
  expect(third.exports).toMatchObject([{ mode: 'incremental', base: second.id }]);
  expect(await server.viewDirty(third)).toEqual([7]);
});

test('a last granule that is cut short counts only up to the end of the disk', async () => {
  const server = await BackupServer.start();
  await server.call('POST', url, { name: 'nightly', granularityBytes: 2 ** 21 });
  const { id } = await server.committed();
  await put(server.exports.get('disk').device, 0, Buffer.alloc(512, 'x'));
  const { exports } = await server.begin();
  expect(exports).toMatchObject([{ base: id, dirtyBytes: DISK_BYTES, estimatedReadBytes: DISK_BYTES }]);
});
