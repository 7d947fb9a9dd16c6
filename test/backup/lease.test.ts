import { describe, expect, test, vi } from 'vitest';
import { newBackupId } from '../../src/backup/backup-record.js';
import { Lease } from '../../src/backup/lease.js';
import { Command, Option, OptionReply } from '../../src/protocol/constants.js';
import { BackupServer, GRANULE } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';

describe('a lease', () => {
  let now = 0;
  const at = (milliseconds: number) => {
    now = milliseconds;
  };
  const leaseOf = (ttlSeconds: number) => {
    at(0);
    return new Lease(ttlSeconds, () => now);
  };

  test('expires when its time has passed, and not before', () => {
    const lease = leaseOf(10);
    at(9999);
    expect(lease.expired).toBe(false);
    at(10_000);
    expect(lease.expired).toBe(true);
  });

  test('starts again at a renewal, which may change its duration', () => {
    const lease = leaseOf(10);
    at(5000);
    lease.renew();
    at(14_999);
    expect(lease.expired).toBe(false);
    lease.renew(1);
    expect(lease.ttlSeconds).toBe(1);
    at(15_999);
    expect(lease.expired).toBe(true);
  });

  test('starts again when there were new reads, and not otherwise', () => {
    const lease = leaseOf(10);
    at(6000);
    lease.noticeReads(3);
    at(12_000);
    lease.noticeReads(3);
    expect(lease.expired).toBe(false);
    at(16_000);
    expect(lease.expired).toBe(true);
  });
});

describe('a backup', () => {
  test('has a lease of two hours by default', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin();
    expect(backup.ttlSeconds).toBe(7200);
    expect(Date.parse(backup.expiresAt!) - Date.parse(backup.startedAt)).toBe(7_200_000);
    await server.pass(7199);
    expect(await server.look(backup)).toMatchObject({ state: 'active' });
    await server.pass(1);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'expired' });
  });

  test('is extended by a renewal, for the same time as before or the given time', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin({ ttlSeconds: 10 });
    await server.pass(9);
    const renewed = await server.call<typeof backup>('POST', `/v1/backups/${backup.id}/renew`);
    expect(renewed.ttlSeconds).toBe(10);
    expect(Date.parse(renewed.expiresAt!) - Date.parse(backup.expiresAt!)).toBe(9000);
    await server.pass(9);
    const longer = await server.call('POST', `/v1/backups/${backup.id}/renew`, { ttlSeconds: 100 });
    expect(longer).toMatchObject({ ttlSeconds: 100 });
    await server.pass(99);
    expect(await server.look(backup)).toMatchObject({ state: 'active', ttlSeconds: 100 });
    await server.pass(1);
    expect(await server.look(backup)).toMatchObject({ endDetail: 'its lease of 100 s ran out', ttlSeconds: 100 });
  });

  test('shows what a renewal says of its progress, while it is active', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin();
    const report = (exportName: string, doneBytes: number) =>
      server.ask('POST', `/v1/backups/${backup.id}/renew`, {
        progress: [{ export: exportName, doneBytes, totalBytes: 100 }],
      });
    expect((await server.look(backup)).exports[0]).not.toHaveProperty('progress');
    await report('disk', 10);
    expect((await report('disk', 20)).status).toBe(200);
    expect((await server.look(backup)).exports[0]).toMatchObject({ progress: { doneBytes: 20, totalBytes: 100 } });
    expect(await report('other', 30)).toMatchObject({ status: 400, document: { code: 'BACKUP_INVALID' } });
    expect((await report('disk', -1)).status).toBe(400);
    await server.call('POST', `/v1/backups/${backup.id}/commit`);
    expect((await server.look(backup)).exports[0]).not.toHaveProperty('progress');
  });

  test.each([0, -1, 1.5, 30 * 24 * 3600 + 1])('cannot have a lease of %d s', async (ttlSeconds) => {
    const server = await BackupServer.start();
    const { id } = await server.begin();
    expect((await server.ask('POST', `/v1/backups/${id}/renew`, { ttlSeconds })).status).toBe(400);
  });

  test('is kept by reads of any of its views', async () => {
    const server = await BackupServer.start({ disks: { disk: {}, other: {} } });
    const backup = await server.begin({ exports: ['disk', 'other'], ttlSeconds: 10 });
    for (let i = 0; i < 5; i++) {
      await contentOf(server.view(backup, i % 2 ? 'disk' : 'other').device, 0, 512);
      await server.pass(9);
    }
    expect(await server.look(backup)).toMatchObject({ state: 'active' });
    await server.pass(10);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted' });
  });

  test('is kept only by reads of its views, not of the export', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin({ ttlSeconds: 10 });
    await server.pass(9);
    await contentOf(server.exports.get('disk').device);
    await server.write([1]);
    await server.pass(1);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'expired' });
  });

  test('is kept by a client that names its view, and not by one that reads everything NBD lists', async () => {
    const server = await BackupServer.start();
    const connect = await server.listen();
    const backup = await server.begin({ ttlSeconds: 10 });
    const read = async (name: string) => {
      const client = await connect();
      await client.go(name);
      client.request({ command: Command.READ, length: 512 });
      expect(await client.structuredError()).toBe(0);
    };
    await server.pass(9);
    await read(server.view(backup).name);
    await server.pass(9);
    expect(await server.look(backup)).toMatchObject({ state: 'active' });
    const lister = await connect();
    await lister.greet();
    lister.option(Option.LIST);
    const listed = (await lister.replies()).filter(({ type }) => type === OptionReply.SERVER);
    for (const { data } of listed) await read(data.subarray(4, 4 + data.readUInt32BE(0)).toString());
    expect(listed).toHaveLength(1);
    await server.pass(10);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'expired' });
  });

  test('is kept by releasing a range', async () => {
    const server = await BackupServer.start();
    const backup = await server.begin({ ttlSeconds: 10 });
    await server.pass(9);
    await server.call('POST', `/v1/backups/${backup.id}/release`, { export: 'disk', offset: 0, length: 512 });
    await server.pass(9);
    expect(await server.look(backup)).toMatchObject({ state: 'active' });
  });

  test('can be committed or renewed until the server notices that its lease has expired', async () => {
    const server = await BackupServer.start();
    const [one, two] = [await server.begin({ ttlSeconds: 1 }), await server.begin({ ttlSeconds: 1, bitmap: 'two' })];
    vi.advanceTimersByTime(5000);
    await server.commit(one);
    await server.call('POST', `/v1/backups/${two.id}/renew`);
    await server.pass(0);
    expect(await server.look(one)).toMatchObject({ state: 'committed' });
    expect(await server.look(two)).toMatchObject({ state: 'active' });
  });
});

test('a disk that hangs does not prevent the backup of another disk from ending', async () => {
  const hanging = new FaultyDevice(new MemoryDevice(GRANULE));
  const server = await BackupServer.start({ disks: { disk: { device: hanging }, other: {} } });
  const first = await server.begin({ ttlSeconds: 10 });
  const second = await server.begin({ exports: ['other'], ttlSeconds: 20 });
  hanging.hold();
  const write = server.exports.get('disk').device.write(Buffer.alloc(512), 0, 512, 0);
  const passed = [server.pass(10), server.pass(10)];
  await expect.poll(async () => (await server.look(second)).state).toBe('aborted');
  expect(await server.look(first)).toMatchObject({ state: 'active' });
  hanging.release();
  await Promise.all([write, ...passed]);
  expect(await server.look(first)).toMatchObject({ state: 'aborted', endReason: 'expired' });
});

test('ids sort by time, and need no quoting in names and paths', () => {
  const times = [
    '2026-11-23T23:57:10.000Z',
    '2026-11-23T23:57:10.001Z',
    '2026-11-23T23:57:10.999Z',
    '2026-11-23T23:57:11.999Z',
    '2026-11-24T00:00:00Z',
    '2027-01-01T00:00:00Z',
  ];
  const ids = times.map((time) => newBackupId(new Date(time)));
  expect([...ids].sort()).toEqual(ids);
  for (const id of ids) expect(id).toMatch(/^\d{8}-\d{6}-[0-9a-z]{4}$/);
  expect(ids[0]).toMatch(/^20261123-235710-/);
});
