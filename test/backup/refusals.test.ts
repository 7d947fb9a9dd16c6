import { join } from 'node:path';
import { describe, expect, test, vi } from 'vitest';
import { ScratchDirectory } from '../../src/backup/scratch-directory.js';
import { EIO } from '../../src/base/errno.js';
import { silentLog } from '../../src/base/log.js';
import { BackupServer, GRANULE } from '../support/backup-server.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { expectProblem } from '../support/problem.js';
import { writeImage } from '../support/scratch-device.js';

const wanted = { exports: ['disk'], bitmap: 'nightly' };

describe('a backup does not begin', () => {
  test('with a bitmap that another backup holds', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin();
    expectProblem(
      await server.ask('POST', '/v1/backups', wanted),
      'BITMAP_BUSY',
      "Bitmap 'nightly' is currently in use by another operation and cannot be used",
      'wait until that operation has ended; tidemark backup list shows backups under way',
    );
    expect(server.views()).toEqual([`disk@${backup.id}`]);
  });

  test('with a disabled bitmap', async () => {
    const server = await BackupServer.start();
    await server.call('POST', '/v1/exports/disk/bitmaps', { name: 'nightly', disabled: true });
    expectProblem(
      await server.ask('POST', '/v1/backups', wanted),
      'BITMAP_DISABLED',
      `bitmap 'nightly' of "disk" is disabled: a backup could not be followed by another`,
      'tidemark bitmap enable disk nightly',
    );
  });

  test('of an export that does not exist', async () => {
    const server = await BackupServer.start();
    expectProblem(
      await server.ask('POST', '/v1/backups', { ...wanted, exports: ['disk', 'nope'] }),
      'EXPORT_NOT_FOUND',
      'there is no export "nope"',
      'tidemark export list shows what is served',
    );
  });

  test('of a view', async () => {
    const server = await BackupServer.start();
    const { id } = await server.begin();
    const answer = await server.ask('POST', '/v1/backups', { exports: [`disk@${id}`], bitmap: 'other' });
    expect(answer).toMatchObject({ status: 404, document: { code: 'EXPORT_NOT_FOUND' } });
  });

  test('of an export that is named twice', async () => {
    const server = await BackupServer.start();
    expectProblem(
      await server.ask('POST', '/v1/backups', { ...wanted, exports: ['disk', 'disk'] }),
      'BACKUP_INVALID',
      'an export is named twice',
      'name each export once',
    );
  });

  test.each([
    [{ bitmap: '' }, 'Bitmap name cannot be empty', 'give it a name'],
    [{ bitmap: 'a\nb' }, 'Bitmap name contains a control character', 'choose a printable name'],
  ])('with a bitmap that cannot be made: %o', async (choice, detail, hint) => {
    const server = await BackupServer.start();
    const answer = await server.ask('POST', '/v1/backups', { ...wanted, ...choice });
    expectProblem(answer, 'BITMAP_INVALID', detail, hint);
    expect(server.views()).toEqual([]);
    expect(server.scratch.devices).toEqual([]);
  });

  test.each([
    [{ exports: [] }, 'body.exports must not have fewer than 1 items'],
    [{ ttlSeconds: 0 }, 'body.ttlSeconds must be >= 1'],
    [{ ttlSeconds: 1.5 }, 'body.ttlSeconds must be integer'],
    [{ ttlSeconds: 30 * 24 * 3600 + 1 }, 'body.ttlSeconds must be <= 2592000'],
    [{ scratchLimitBytes: -1 }, 'body.scratchLimitBytes must be >= 0'],
    [
      { onScratchFull: 'panic' },
      'body.onScratchFull must be equal to one of the allowed values: fail-view, fail-writer',
    ],
    [{ colour: 'red' }, 'body.colour is not known here'],
  ])('with %o', async (choice, detail) => {
    const server = await BackupServer.start();
    const answer = await server.ask('POST', '/v1/backups', { ...wanted, ...choice });
    expectProblem(answer, 'BAD_REQUEST', detail, 'see /openapi.json');
  });

  test('without a usable scratch directory', async () => {
    const server = await BackupServer.start();
    const path = join(writeImage({ content: 512 }), 'scratch');
    const unusable = new ScratchDirectory(path, { posix: undefined, log: silentLog });
    vi.spyOn(server.scratch, 'open').mockImplementation((sizeBytes) => unusable.open(sizeBytes));
    expectProblem(
      await server.ask('POST', '/v1/backups', wanted),
      'SCRATCH_UNUSABLE',
      `the scratch directory ${path} cannot be used: ENOTDIR: not a directory, mkdir '${path}'`,
      'a file is in its way: choose another one with --scratch DIR, on a file system with sparse files',
    );
    expect((await server.call<{ bitmaps: [] }>('GET', '/v1/exports/disk/bitmaps')).bitmaps).toEqual([]);
  });

  test('while the server is stopping', async () => {
    const server = await BackupServer.start();
    await server.backups.close();
    expectProblem(
      await server.ask('POST', '/v1/backups', wanted),
      'SHUTTING_DOWN',
      'the server is stopping',
      'begin again when it is back',
    );
  });

  test('while the export is being removed', async () => {
    const server = await BackupServer.start();
    const stay = await server.backups.leave('disk', false);
    expectProblem(
      await server.ask('POST', '/v1/backups', wanted),
      'EXPORT_NOT_FOUND',
      'the export "disk" is being removed',
      'add it again first',
    );
    stay();
    await server.begin();
  });
});

test.each(['', '/renew', '/commit', '/abort', '/release'])('an unknown backup is not found: %s', async (verb) => {
  const server = await BackupServer.start();
  const body = verb === '/release' ? { export: 'disk', offset: 0, length: GRANULE } : undefined;
  expectProblem(
    await server.ask(verb === '' ? 'GET' : 'POST', `/v1/backups/20990101-000000-abcd${verb}`, body),
    'BACKUP_NOT_FOUND',
    'there is no backup 20990101-000000-abcd',
    'tidemark backup list shows them',
  );
});

describe('a range is not released', () => {
  test('of an export that the backup does not include', async () => {
    const server = await BackupServer.start({ disks: { disk: {}, other: {}, third: {} } });
    const { id } = await server.begin({ exports: ['disk', 'third'] });
    const range = { export: 'other', offset: 0, length: GRANULE };
    expectProblem(
      await server.ask('POST', `/v1/backups/${id}/release`, range),
      'BACKUP_INVALID',
      `backup ${id} does not include "other"`,
      'it includes disk, third',
    );
  });

  test.each([
    [0, 17 * GRANULE],
    [16 * GRANULE, 1],
    [Number.MAX_SAFE_INTEGER, 1],
  ])('beyond the end of the view: %d, %d bytes', async (offset, length) => {
    const server = await BackupServer.start();
    const { id } = await server.begin();
    expectProblem(
      await server.ask('POST', `/v1/backups/${id}/release`, { export: 'disk', offset, length }),
      'BACKUP_INVALID',
      `the range extends beyond the end of disk@${id}`,
      'check its size',
    );
  });
});

describe('an export under backup is not removed', () => {
  test('unless forced, and other exports are not affected', async () => {
    const server = await BackupServer.start({ disks: { disk: {}, other: {} } });
    const { id } = await server.begin();
    expectProblem(
      await server.ask('DELETE', '/v1/exports/disk'),
      'EXPORT_IN_USE',
      `backup ${id} is under way on "disk"`,
      'wait for it, abort it, or remove the export with --force',
    );
    expect((await server.ask('DELETE', '/v1/exports/other')).status).toBe(204);
    expect(await server.call('GET', `/v1/backups/${id}`)).toMatchObject({ state: 'active' });
  });

  test('and the error names all its backups', async () => {
    const server = await BackupServer.start();
    const [one, two] = [await server.begin(), await server.begin({ bitmap: 'weekly' })];
    const answer = await server.ask('DELETE', '/v1/exports/disk');
    expect(answer.document).toMatchObject({ detail: `backup ${one.id}, ${two.id} is under way on "disk"` });
  });
});

test('a backup is not committed while its disk cannot be flushed, because data that it calls clean might be lost', async () => {
  const device = new FaultyDevice(new MemoryDevice(GRANULE));
  const server = await BackupServer.start({ disks: { disk: { device } } });
  const { id } = await server.begin();
  device.failNext('flush', EIO);
  expectProblem(
    await server.ask('POST', `/v1/backups/${id}/commit`),
    'FLUSH_FAILED',
    'the disk of "disk" could not be flushed: EIO',
    'see the log for the cause; remove the export and add it again once its storage is sound',
  );
  expect(await server.call('GET', `/v1/backups/${id}`)).toMatchObject({ state: 'active' });
  expect(await server.call('POST', `/v1/backups/${id}/commit`)).toMatchObject({ state: 'committed' });
});
