import { describe, expect, test } from 'vitest';
import { EPERM, OK } from '../../src/base/errno.js';
import { KIB } from '../../src/base/units.js';
import { allGranules, BackupServer, GRANULE, GRANULES } from '../support/backup-server.js';
import { allocationOf, contentOf, expectSame } from '../support/device-content.js';
import { MemoryDevice } from '../support/memory-device.js';
import { expectProblem } from '../support/problem.js';
import { encodeOption, infoData, type RawClient } from '../support/raw-client.js';

const DISK_BYTES = GRANULES * GRANULE;
const HOLE = 3;

describe('over NBD, a view', () => {
  const [LIST, INFO, GO] = [3, 6, 7];
  const UNKNOWN = 2 ** 31 + 6;

  async function refusalOf(connect: () => Promise<RawClient>, name: string): Promise<number> {
    const client = await connect();
    await client.greet();
    client.option(GO, infoData(name));
    return (await client.replies()).at(-1)!.type;
  }

  test('is not listed, and can be connected to by its exact name while its backup is active', async () => {
    const server = await BackupServer.start();
    const connect = await server.listen();
    const listed = async () => {
      const client = await connect();
      await client.greet();
      client.send(encodeOption(LIST));
      return (await client.replies())
        .slice(0, -1)
        .map(({ data }) => data.toString('utf8', 4, 4 + data.readUInt32BE(0)));
    };
    const backup = await server.begin();
    const view = `disk@${backup.id}`;
    expect(await listed()).toEqual(['disk']);
    await (await connect()).go(view, { contexts: ['qemu:dirty-bitmap:nightly'] });
    await server.commit(backup);
    expect(await listed()).toEqual(['disk']);
    expect(await refusalOf(connect, view)).toBe(UNKNOWN);
  });

  test('does not affect the default export', async () => {
    const server = await BackupServer.start();
    const connect = await server.listen();
    await server.begin();
    const client = await connect();
    await client.greet();
    client.option(INFO, infoData('', [1]));
    const names = (await client.replies()).filter(({ type, data }) => type === 3 && data.readUInt16BE(0) === 1);
    expect(names.map(({ data }) => data.toString('utf8', 2))).toEqual(['disk']);
  });

  test('is read-only, allows several connections, and closes them when its backup ends', async () => {
    const server = await BackupServer.start();
    await server.write([0], 'a');
    const connect = await server.listen();
    const backup = await server.begin();
    const client = await connect();
    const flags = await client.go(`disk@${backup.id}`);
    expect({ readOnly: (flags & 2) !== 0, multiConn: (flags & 256) !== 0 }).toEqual({
      readOnly: true,
      multiConn: true,
    });
    client.request({ command: 1, payload: Buffer.alloc(512) });
    expect(await client.structuredError()).toBe(EPERM);
    await server.write([0], 'b');
    client.request({ command: 0, length: 512 });
    const [chunk] = await client.chunks();
    expectSame(chunk!.payload.subarray(8), Buffer.alloc(512, 'a'));
    await server.abort(backup);
    expect(await client.rest()).toHaveLength(0);
  });

  test('whose export has a name with an @ is found', async () => {
    const server = await BackupServer.start({ disks: { 'a@b': {} } });
    const connect = await server.listen();
    const { id, exports } = await server.begin({ exports: ['a@b'] });
    expect(exports).toMatchObject([{ view: `a@b@${id}`, uri: `nbd://127.0.0.1:10809/a@b@${id}` }]);
    await (await connect()).go(`a@b@${id}`);
  });

  test('reserves its name against exports', async () => {
    const server = await BackupServer.start();
    const { id } = await server.begin();
    const answer = await server.ask('POST', '/v1/exports', { name: `disk@${id}`, path: 'memory' });
    expect(answer).toMatchObject({ status: 409, document: { code: 'EXPORT_EXISTS' } });
  });
});

describe('the content of a view stays the same', () => {
  test('when the disk is trimmed and zeroed below it', async () => {
    const server = await BackupServer.start();
    await server.write([0, 1, 2, 3, 5], 'a');
    const before = await contentOf(server.exports.get('disk').device);
    const backup = await server.begin();
    const { device } = server.exports.get('disk');
    expect(await device.trim(0, GRANULE)).toBe(OK);
    expect(await device.zero(GRANULE + 512, GRANULE, { keepAllocated: false, fastOnly: false })).toBe(OK);
    expect(await device.zero(5 * GRANULE, 4 * GRANULE, { keepAllocated: true, fastOnly: false })).toBe(OK);
    const view = server.view(backup);
    expectSame(await contentOf(view.device), before);
    expect(await allocationOf(view.device)).toEqual([
      [4 * GRANULE, 0],
      [GRANULE, HOLE],
      [GRANULE, 0],
      [10 * GRANULE, HOLE],
    ]);
    await server.commit(backup);
    expect(await server.dirty()).toEqual([0, 1, 2, 5, 6, 7, 8]);
  });

  test('when the disk grows, and the new tail is dirty for the next backup', async () => {
    const server = await BackupServer.start();
    await server.write([15], 'a');
    await server.committed();
    await server.write([1], 'b');
    const backup = await server.begin();
    const before = await contentOf(server.view(backup).device);
    const sizeBytes = DISK_BYTES + 2 * GRANULE;
    await server.call('POST', '/v1/exports/disk/resize', { sizeBytes });
    await server.write([15, 16, 17], 'c');
    expectSame(await contentOf(server.view(backup).device), before);
    expect(await server.viewDirty(backup)).toEqual([1]);
    expect((await server.look(backup)).exports).toMatchObject([{ sizeBytes: DISK_BYTES }]);
    await server.commit(backup);
    const next = await server.begin();
    expect(next.exports).toMatchObject([{ mode: 'incremental', sizeBytes, dirtyBytes: 3 * GRANULE }]);
    expect(await server.viewDirty(next)).toEqual([15, 16, 17]);
  });

  test('when the disk grows and the backup is aborted: the tail is dirty as well', async () => {
    const server = await BackupServer.start();
    await server.committed();
    const backup = await server.begin();
    await server.call('POST', '/v1/exports/disk/resize', { sizeBytes: DISK_BYTES + 4 * KIB });
    await server.abort(backup);
    expect(await server.dirty()).toEqual([16]);
  });
});

test('an export does not shrink under a backup', async () => {
  const server = await BackupServer.start({ disks: { disk: { device: new MemoryDevice(DISK_BYTES) } } });
  const backup = await server.begin();
  expectProblem(
    await server.ask('POST', '/v1/exports/disk/resize', { sizeBytes: GRANULE }),
    'BITMAP_BUSY',
    "Bitmap 'nightly' is currently in use by another operation and cannot be used",
  );
  await server.abort(backup);
  await server.call('POST', '/v1/exports/disk/resize', { sizeBytes: GRANULE });
});

test('a read-only export is backed up too', async () => {
  const device = new MemoryDevice(DISK_BYTES);
  device.writeNow(Buffer.alloc(GRANULE, 'a'), 0, GRANULE, 0);
  const server = await BackupServer.start({ disks: { disk: { device, readOnly: true } } });
  const backup = await server.begin();
  expect(await server.viewDirty(backup)).toEqual(allGranules);
  expectSame(await contentOf(server.view(backup).device, 0, GRANULE), Buffer.alloc(GRANULE, 'a'));
  await server.commit(backup);
  expect((await server.begin({ since: backup.id })).exports).toMatchObject([{ mode: 'incremental', dirtyBytes: 0 }]);
});

describe.each(['clear', 'disable', 'enable', 'remove', 'merge'])('a bitmap under backup', (verb) => {
  test(`refuses to ${verb}`, async () => {
    const server = await BackupServer.start();
    await server.call('POST', '/v1/exports/disk/bitmaps', { name: 'other' });
    await server.begin();
    const url = '/v1/exports/disk/bitmaps/nightly';
    const answer = await (verb === 'remove'
      ? server.ask('DELETE', url)
      : server.ask('POST', `${url}/${verb}`, verb === 'merge' ? { sources: ['other'] } : undefined));
    expect(answer).toMatchObject({ status: 409, document: { code: 'BITMAP_BUSY' } });
  });
});
