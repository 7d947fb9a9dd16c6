import { describe, expect, test } from 'vitest';
import { EIO, ENOSPC, type Errno, OK } from '../../src/base/errno.js';
import { KIB } from '../../src/base/units.js';
import { BackupServer, type Described, GRANULE, GRANULES } from '../support/backup-server.js';
import { allocationOf, contentOf } from '../support/device-content.js';

/** The old data of a small write is copied in pieces of this size. */
const PIECE = 4 * KIB;

/** A disk filled with "a", and a backup of it. */
async function begun(wanted: object): Promise<{ server: BackupServer; backup: Described }> {
  const server = await BackupServer.start();
  await server.write(
    Array.from({ length: GRANULES }, (_, i) => i),
    'a',
  );
  return { server, backup: await server.begin(wanted) };
}

/** The errno of a write. */
function write(server: BackupServer, granule: number): Errno | Promise<Errno> {
  const { device } = server.exports.get('disk');
  return device.write(Buffer.alloc(512, 'x'), 0, 512, granule * GRANULE);
}

const letterAt = async (device: Parameters<typeof contentOf>[0], granule: number) =>
  (await contentOf(device, granule * GRANULE, 1)).toString();

describe('old data for which scratch has no space', () => {
  test('breaks the view and aborts the backup, and the writer does not notice', async () => {
    const { server, backup } = await begun({ scratchLimitBytes: 2 * PIECE });
    const { device } = server.view(backup);
    expect([await write(server, 0), await write(server, 1), await write(server, 0)]).toEqual([OK, OK, OK]);
    const full = { usedBytes: 2 * PIECE, limitBytes: 2 * PIECE };
    expect(await server.look(backup)).toMatchObject({ state: 'active', scratch: full, onScratchFull: 'fail-view' });
    expect(await letterAt(device, 0)).toBe('a');
    expect(await write(server, 2)).toBe(OK);
    expect(device.readNow(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
    await server.pass(0);
    expect(await server.look(backup)).toMatchObject({
      ...{ state: 'aborted', endReason: 'scratch-full', scratch: { usedBytes: 0, limitBytes: 2 * PIECE } },
    });
    expect(await letterAt(server.exports.get('disk').device, 2)).toBe('x');
  });

  test('fails the write if the backup was begun that way, and the backup goes on', async () => {
    const { server, backup } = await begun({ scratchLimitBytes: PIECE, onScratchFull: 'fail-writer' });
    expect([await write(server, 0), await write(server, 1), await write(server, 0)]).toEqual([OK, ENOSPC, OK]);
    await server.pass(0);
    expect(await server.look(backup)).toMatchObject({ state: 'active', onScratchFull: 'fail-writer' });
    const { device } = server.view(backup);
    expect([await letterAt(device, 0), await letterAt(device, 1)]).toEqual(['a', 'a']);
    await server.call('POST', `/v1/backups/${backup.id}/release`, { export: 'disk', offset: 0, length: GRANULE });
    expect(await write(server, 1)).toBe(OK);
    expect(await letterAt(device, 1)).toBe('a');
    await server.commit(backup);
    expect(await server.dirty()).toEqual([0, 1]);
  });

  test('fails the write also when scratch has an error, if the backup was begun that way', async () => {
    const { server, backup } = await begun({ onScratchFull: 'fail-writer' });
    server.scratch.devices[0]!.failNext('write', EIO);
    expect([await write(server, 0), await write(server, 0)]).toEqual([EIO, OK]);
    await server.pass(0);
    expect(await server.look(backup)).toMatchObject({ state: 'active', scratch: { usedBytes: PIECE } });
    expect(await letterAt(server.view(backup).device, 0)).toBe('a');
  });

  test('of one export aborts the backup of all exports', async () => {
    const server = await BackupServer.start({ disks: { disk: {}, other: {} } });
    await server.write([0], 'a');
    const backup = await server.begin({ exports: ['disk', 'other'], scratchLimitBytes: 512 });
    await server.write([5], 'b', 'other');
    expect(await server.look(backup), 'holes take no room').toMatchObject({ state: 'active' });
    await server.write([0]);
    await server.pass(0);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'scratch-full' });
    expect(server.views()).toEqual([]);
    expect((await server.call<{ bitmaps: [] }>('GET', '/v1/exports/other/bitmaps')).bitmaps).toEqual([]);
  });
});

describe('scratch that is filling up is reported once at each level', () => {
  async function told(server: BackupServer): Promise<(number | undefined)[]> {
    await server.pass(0);
    await server.pass(0);
    const levels = server.events.flatMap((event) => (event.type === 'backup-scratch-filling' ? [event.percent] : []));
    server.events.length = 0;
    return levels;
  }

  test('of its limit', async () => {
    const { server, backup } = await begun({ scratchLimitBytes: 10 * GRANULE });
    expect(await told(server)).toEqual([]);
    await server.write([0, 1, 2, 3]);
    expect(await told(server)).toEqual([]);
    await server.write([4]);
    expect(await told(server)).toEqual([50]);
    await server.write([5, 6, 7]);
    expect(await told(server)).toEqual([80]);
    await server.write([8]);
    expect(await told(server)).toEqual([]);
    await server.write([9]);
    await server.pass(0);
    expect(server.events).toEqual([
      {
        ...{ id: expect.any(Number), type: 'backup-scratch-filling', percent: 95, at: new Date().toISOString() },
        ...{ backup: backup.id, bitmap: 'nightly', exports: ['disk'] },
      },
    ]);
    const range = { export: 'disk', offset: 0, length: 5 * GRANULE };
    server.events.length = 0;
    await server.call('POST', `/v1/backups/${backup.id}/release`, range);
    await server.write([10, 11, 12]);
    expect(await told(server)).toEqual([]);
  });

  test('and only at the highest level when it fills up fast', async () => {
    const { server } = await begun({ scratchLimitBytes: GRANULE });
    await server.write([0]);
    expect(await told(server)).toEqual([95]);
  });

  test('of the free space', async () => {
    const { server } = await begun({});
    await server.write([0, 1, 2]);
    expect(await told(server)).toEqual([]);
    server.scratch.free = 4 * GRANULE;
    expect(await told(server)).toEqual([]);
    server.scratch.free = 3 * GRANULE;
    expect(await told(server)).toEqual([50]);
    server.scratch.free = 0;
    expect(await told(server)).toEqual([95]);
  });

  test('of whichever is reached first', async () => {
    const { server } = await begun({ scratchLimitBytes: 100 * GRANULE });
    server.scratch.free = GRANULE;
    await server.write([0, 1, 2, 3]);
    expect(await told(server)).toEqual([80]);
  });
});

describe('a range that is released', () => {
  const release = ({ server, backup }: { server: BackupServer; backup: Described }, offset: number, length: number) =>
    server.call<Described>('POST', `/v1/backups/${backup.id}/release`, { export: 'disk', offset, length });

  test('gives its scratch back, and takes no more', async () => {
    const both = await begun({});
    const { server } = both;
    await server.write([0, 1, 2]);
    expect((await release(both, 0, 2 * GRANULE)).scratch).toEqual({ usedBytes: GRANULE });
    await server.write([0, 1]);
    expect((await release(both, 0, 2 * GRANULE)).scratch, 'asked twice').toEqual({ usedBytes: GRANULE });
  });

  test('cannot be read, and is reported as data', async () => {
    const both = await begun({});
    await release(both, GRANULE, GRANULE);
    const { device } = both.server.view(both.backup);
    const readable = (offset: number, length: number) => device.readNow(Buffer.alloc(length), 0, length, offset);
    expect(readable(GRANULE, 512)).toBe(EIO);
    expect(readable(GRANULE - 512, 1024)).toBe(EIO);
    expect(readable(0, GRANULE)).toBe(OK);
    expect(readable(2 * GRANULE, GRANULE)).toBe(OK);
    expect(await allocationOf(device)).toEqual([[GRANULES * GRANULE, 0]]);
  });

  test('covers only the whole granules in it', async () => {
    const both = await begun({});
    await release(both, 512, 2 * GRANULE);
    const { device } = both.server.view(both.backup);
    expect([await letterAt(device, 0), await letterAt(device, 2)]).toEqual(['a', 'a']);
    expect(device.readNow(Buffer.alloc(512), 0, 512, GRANULE)).toBe(EIO);
    await release(both, 0, 0);
    expect(await letterAt(device, 0)).toBe('a');
  });
});
