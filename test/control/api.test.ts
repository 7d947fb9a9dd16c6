import { describe, expect, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import type { Happening } from '../../src/watch/happening.js';
import { controlApiOver, serverFacts } from '../support/control-api.js';
import { put } from '../support/device-content.js';
import { idleClient } from '../support/idle-client.js';
import { insideOf } from '../support/inside.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, type MemoryExport, memoryRegistry } from '../support/memory-server.js';

const nightly = {
  name: 'nightly',
  export: 'disk',
  granularityBytes: 64 * KIB,
  sizeBytes: DISK_BYTES,
  dirtyBytes: 0,
  recording: true,
  busy: false,
  persistent: false,
  inconsistent: false,
  base: null,
};
const disk = {
  name: 'disk',
  path: 'memory',
  origin: 'temporary',
  description: '',
  sizeBytes: DISK_BYTES,
  readOnly: false,
  minBlockBytes: 512,
  uri: 'nbd://127.0.0.1:10809/disk',
  bitmaps: [nightly],
  connections: [],
};
const bitmapUrl = '/v1/exports/disk/bitmaps/nightly';

async function serve(...served: MemoryExport[]) {
  const exports = await memoryRegistry(served.length > 0 ? served : [{ name: 'disk', bitmaps: ['nightly'] }]);
  const tested = await controlApiOver(exports);
  const heard: Happening[] = [];
  tested.events.follow(({ id: _id, at: _at, ...event }) => heard.push(event));
  const write = (offset: number, length: number, name = 'disk') =>
    put(exports.get(name).device, offset, Buffer.alloc(length, 1));
  return { ...tested, exports, heard, write };
}

describe('the server', () => {
  test('is described, with its exports', async () => {
    const { ask } = await serve();
    expect(await ask('GET', '/v1/server')).toMatchObject({
      status: 200,
      mediaType: 'application/json',
      document: { ...serverFacts, exports: ['disk'] },
    });
  });

  test('is healthy while it answers', async () => {
    const { ask } = await serve();
    expect(await ask('GET', '/healthz')).toMatchObject({ status: 200, document: { status: 'ok' } });
  });
});

describe('exports', () => {
  test('are listed in the order they were added', async () => {
    const { ask } = await serve({ name: 'b' }, { name: 'a', readOnly: true, description: 'old one' });
    expect(await ask('GET', '/v1/exports')).toMatchObject({
      status: 200,
      document: { exports: [{ name: 'b' }, { name: 'a', readOnly: true, description: 'old one' }] },
    });
  });

  test('are described with their bitmaps', async () => {
    const { ask } = await serve();
    const { status, document } = await ask('GET', '/v1/exports/disk');
    expect(status).toBe(200);
    expect(document).toEqual(disk);
  });

  test('are described with their clients', async () => {
    const { ask, exports } = await serve();
    const client = {
      id: 3,
      client: '127.0.0.1:50000',
      connectedAt: '2025-01-02T03:04:05.678Z',
      requests: 5,
      failedRequests: 1,
      bytesRead: 512,
      bytesWritten: 1024,
    };
    exports.get('disk').attach(idleClient(client));
    expect((await ask('GET', '/v1/exports/disk')).document).toEqual({ ...disk, connections: [client] });
  });

  test('may have any name', async () => {
    const name = '../a b/ü%2f?#';
    const { ask } = await serve({ name });
    expect((await ask('GET', `/v1/exports/${encodeURIComponent(name)}`)).document).toMatchObject({ name });
  });

  test('are added and removed', async () => {
    const { ask, heard } = await serve();
    expect(await ask('DELETE', '/v1/exports/disk')).toMatchObject({ status: 204, text: '' });
    expect((await ask('GET', '/v1/exports')).document).toEqual({ exports: [], unserved: [] });
    const added = await ask('POST', '/v1/exports', { name: 'disk', path: 'memory', readOnly: false });
    expect(added.status).toBe(201);
    expect(added.document).toEqual({ ...disk, origin: 'kept' });
    expect(heard).toEqual([
      { type: 'export-removed', export: 'disk', by: 'unix socket' },
      { type: 'export-added', export: 'disk', by: 'unix socket' },
    ]);
  });

  test('grow, and their new tail is dirty', async () => {
    const { ask, heard } = await serve();
    const { status, document } = await ask('POST', '/v1/exports/disk/resize', { sizeBytes: DISK_BYTES + MIB });
    expect(status).toBe(200);
    const bitmaps = [{ ...nightly, sizeBytes: DISK_BYTES + MIB, dirtyBytes: MIB }];
    expect(document).toEqual({ ...disk, sizeBytes: DISK_BYTES + MIB, bitmaps });
    expect(heard).toEqual([{ type: 'export-resized', export: 'disk', by: 'unix socket' }]);
  });
});

describe('bitmaps', () => {
  test('are listed', async () => {
    const { ask } = await serve({ name: 'disk', bitmaps: ['nightly', 'weekly'] });
    const { status, document } = await ask('GET', '/v1/exports/disk/bitmaps');
    expect(status).toBe(200);
    expect(document).toEqual({ bitmaps: [nightly, { ...nightly, name: 'weekly' }] });
  });

  test('report how much is dirty', async () => {
    const { ask, write } = await serve();
    await write(64 * KIB - 1, 2);
    expect((await ask('GET', bitmapUrl)).document).toEqual({ ...nightly, dirtyBytes: 128 * KIB });
  });

  test('report why they are inconsistent', async () => {
    const { ask, exports } = await serve();
    insideOf(exports.get('disk')).bitmaps.get('nightly').markInconsistent('the image was written by somebody else');
    expect((await ask('GET', bitmapUrl)).document).toEqual({
      ...nightly,
      recording: false,
      inconsistent: true,
      inconsistentReason: 'the image was written by somebody else',
    });
  });

  test('are added with the given options', async () => {
    const { ask, heard } = await serve();
    const wanted = { name: 'weekly', granularityBytes: 512, disabled: true, transient: true };
    const { status, document } = await ask('POST', '/v1/exports/disk/bitmaps', wanted);
    expect(status).toBe(201);
    expect(document).toEqual({ ...nightly, name: 'weekly', granularityBytes: 512, recording: false });
    expect(heard).toEqual([
      {
        type: 'bitmaps-changed',
        export: 'disk',
        actions: [{ type: 'bitmap-add', bitmap: 'weekly' }],
        by: 'unix socket',
      },
    ]);
  });

  test('record at once, with granules of 64 KiB, by default', async () => {
    const { ask, write } = await serve();
    await write(0, MIB);
    expect((await ask('POST', '/v1/exports/disk/bitmaps', { name: 'weekly' })).document).toEqual({
      ...nightly,
      name: 'weekly',
    });
  });

  test('are removed', async () => {
    const { ask } = await serve();
    expect(await ask('DELETE', bitmapUrl)).toMatchObject({ status: 204, text: '' });
    expect((await ask('GET', '/v1/exports/disk/bitmaps')).document).toEqual({ bitmaps: [] });
  });

  test('are cleared', async () => {
    const { ask, write } = await serve();
    await write(0, MIB);
    expect(await ask('POST', `${bitmapUrl}/clear`)).toMatchObject({ status: 200, document: nightly });
  });

  test('stop recording and start again', async () => {
    const { ask, write } = await serve();
    const disabled = { ...nightly, recording: false };
    expect(await ask('POST', `${bitmapUrl}/disable`)).toMatchObject({ status: 200, document: disabled });
    await write(0, MIB);
    expect(await ask('POST', `${bitmapUrl}/enable`)).toMatchObject({ status: 200, document: nightly });
    await write(MIB, MIB);
    expect((await ask('GET', bitmapUrl)).document).toEqual({ ...nightly, dirtyBytes: MIB });
  });

  test('are merged within an export and across exports', async () => {
    const { ask, write } = await serve({ name: 'disk', bitmaps: ['nightly', 'weekly'] }, { name: 'b', bitmaps: ['x'] });
    await write(0, 1);
    await ask('POST', '/v1/exports/disk/bitmaps/weekly/clear');
    await write(MIB, 1, 'b');
    const sources = ['nightly', { export: 'b', bitmap: 'x' }];
    const merged = await ask('POST', '/v1/exports/disk/bitmaps/weekly/merge', { sources });
    expect(merged.status).toBe(200);
    expect(merged.document).toEqual({ ...nightly, name: 'weekly', dirtyBytes: 128 * KIB });
    expect((await ask('GET', bitmapUrl)).document).toEqual({ ...nightly, dirtyBytes: 64 * KIB });
  });
});

describe('the extents of a bitmap', () => {
  const page = { export: 'disk', bitmap: 'nightly', sizeBytes: DISK_BYTES, granularityBytes: 64 * KIB };

  test('fit on one page when there are few', async () => {
    const { ask, write } = await serve();
    await write(MIB, 64 * KIB);
    const { status, document } = await ask('GET', `${bitmapUrl}/extents`);
    expect(status).toBe(200);
    expect(document).toEqual({
      ...page,
      extents: [
        { offset: 0, length: MIB, dirty: false },
        { offset: MIB, length: 64 * KIB, dirty: true },
        { offset: MIB + 64 * KIB, length: 3 * MIB - 64 * KIB, dirty: false },
      ],
      nextOffset: null,
    });
  });

  test('are split into pages without gaps or overlaps', async () => {
    const { ask, write } = await serve();
    for (let offset = 0; offset < DISK_BYTES; offset += 128 * KIB) await write(offset, 1);
    const collected: { offset: number; length: number; dirty: boolean }[] = [];
    let pages = 0;
    for (let next: number | null = 0; next !== null; pages++) {
      const { document } = await ask('GET', `${bitmapUrl}/extents?offset=${next}&limit=5`);
      const { extents, nextOffset } = document as { extents: typeof collected; nextOffset: number | null };
      expect(extents.length).toBeLessThanOrEqual(5);
      collected.push(...extents);
      next = nextOffset;
    }
    const granules = Array.from({ length: 64 }, (_, index) => index);
    expect(collected).toEqual(
      granules.map((index) => ({ offset: index * 64 * KIB, length: 64 * KIB, dirty: index % 2 === 0 })),
    );
    expect(pages).toBe(13);
  });

  test('begin in the middle of a granule on request', async () => {
    const { ask, write } = await serve();
    await write(0, 1);
    const { document } = await ask('GET', `${bitmapUrl}/extents?offset=1000&limit=1`);
    const extents = [{ offset: 1000, length: 64 * KIB - 1000, dirty: true }];
    expect(document).toEqual({ ...page, extents, nextOffset: 64 * KIB });
  });

  test('are empty at the end of the disk', async () => {
    const { ask } = await serve();
    const { document } = await ask('GET', `${bitmapUrl}/extents?offset=${DISK_BYTES}`);
    expect(document).toEqual({ ...page, extents: [], nextOffset: null });
  });
});

describe('a transaction', () => {
  test('applies every kind of action, on several exports', async () => {
    const bitmaps = ['nightly', 'old', 'on', 'off'];
    const { ask, write, heard } = await serve({ name: 'disk', bitmaps }, { name: 'b', bitmaps: ['x'] });
    await write(0, 1);
    await write(MIB, 1, 'b');
    const add = { type: 'bitmap-add', export: 'b', bitmap: 'y', granularityBytes: 512, disabled: true };
    const merge = { type: 'bitmap-merge', export: 'b', bitmap: 'y', sources: ['x', { export: 'disk', bitmap: 'on' }] };
    const onDisk = (verb: string, bitmap: string) => ({ type: `bitmap-${verb}`, export: 'disk', bitmap });
    const actions = [
      ...[add, merge, onDisk('remove', 'old'), onDisk('clear', 'nightly')],
      ...[onDisk('disable', 'off'), onDisk('disable', 'on'), onDisk('enable', 'on')],
    ];
    const { status, document } = await ask('POST', '/v1/transactions', { actions });
    expect(status).toBe(200);
    expect(document).toEqual({
      heldWrites: { count: 0, medianMilliseconds: 0, p99Milliseconds: 0, maxMilliseconds: 0 },
    });
    const dirty = { dirtyBytes: 64 * KIB };
    expect((await ask('GET', '/v1/exports/disk/bitmaps')).document).toEqual({
      bitmaps: [nightly, { ...nightly, ...dirty, name: 'on' }, { ...nightly, ...dirty, name: 'off', recording: false }],
    });
    expect((await ask('GET', '/v1/exports/b/bitmaps/y')).document).toMatchObject({
      dirtyBytes: 128 * KIB,
      granularityBytes: 512,
      recording: false,
    });
    expect(
      heard.map(
        (event) => event.type === 'bitmaps-changed' && [event.export, event.actions?.map(({ bitmap }) => bitmap)],
      ),
    ).toEqual([
      ['b', ['y', 'y']],
      ['disk', ['old', 'nightly', 'off', 'on', 'on']],
    ]);
  });
});

describe('metrics', () => {
  test('cover every export and bitmap', async () => {
    const { ask, exports, write } = await serve(
      { name: 'disk', bitmaps: ['nightly'] },
      { name: 'small', device: new MemoryDevice(MIB) },
    );
    const past = { requests: 7, failedRequests: 1, bytesRead: 512, bytesWritten: 1024 };
    exports.get('disk').attach(idleClient(past));
    await write(0, 1);
    const { status, mediaType, text } = await ask('GET', '/metrics');
    expect([status, mediaType]).toEqual([200, 'text/plain']);
    const ofCommands = /operation|_idle_|_highest_/;
    const lines = text.split('\n').filter((line) => line.startsWith('tidemark_') && !ofCommands.test(line));
    expect(lines).toEqual([
      'tidemark_memory_used_bytes 0',
      `tidemark_memory_limit_bytes ${1024 * MIB}`,
      'tidemark_connections_waiting_for_memory 0',
      `tidemark_export_size_bytes{export="disk"} ${DISK_BYTES}`,
      `tidemark_export_size_bytes{export="small"} ${MIB}`,
      'tidemark_export_connections{export="disk"} 1',
      'tidemark_export_connections{export="small"} 0',
      'tidemark_export_requests_total{export="disk"} 7',
      'tidemark_export_requests_total{export="small"} 0',
      'tidemark_export_failed_requests_total{export="disk"} 1',
      'tidemark_export_failed_requests_total{export="small"} 0',
      'tidemark_export_read_bytes_total{export="disk"} 512',
      'tidemark_export_read_bytes_total{export="small"} 0',
      'tidemark_export_written_bytes_total{export="disk"} 1024',
      'tidemark_export_written_bytes_total{export="small"} 0',
      'tidemark_export_active_regions{export="disk"} 0',
      'tidemark_export_active_regions{export="small"} 0',
      `tidemark_bitmap_dirty_bytes{export="disk",bitmap="nightly"} ${64 * KIB}`,
      'tidemark_bitmap_inconsistent{export="disk",bitmap="nightly"} 0',
      'tidemark_backups_active 0',
    ]);
    expect(text).toContain('# TYPE tidemark_export_requests_total counter');
    expect(text).toContain('# TYPE tidemark_export_connections gauge');
    expect(text).toContain('process_resident_memory_bytes');
  });

  test('report how long each write was held back, once', async () => {
    const { ask, exports, write } = await serve({ name: 'disk', bitmaps: ['nightly'] }, { name: 'small' });
    const served = exports.get('disk');
    const quiesce = served.quiesce.bind(served);
    const held: Promise<unknown>[] = [];
    vi.spyOn(served, 'quiesce').mockImplementation(() => {
      const quiet = quiesce();
      held.push(write(0, 512), write(MIB, 512));
      return quiet;
    });
    await ask('POST', `${bitmapUrl}/clear`);
    await Promise.all(held);
    expect(held).toHaveLength(2);
    await ask('POST', '/v1/exports/small/bitmaps', { name: 'x' });
    const { text } = await ask('GET', '/metrics');
    expect(text).toContain('# TYPE tidemark_export_held_write_seconds histogram');
    expect(text).toContain('tidemark_export_held_write_seconds_bucket{le="+Inf",export="disk"} 2');
    expect(text).toContain('tidemark_export_held_write_seconds_count{export="disk"} 2');
    expect(text).toMatch(/tidemark_export_held_write_seconds_sum\{export="disk"\} [\d.e-]+\n/);
    expect(text).not.toContain('held_write_seconds_count{export="small"}');
  });

  test('report active backups, their scratch size, and the time of the last commit', async () => {
    const { ask, write } = await serve({ name: 'disk', bitmaps: ['nightly'] });
    const begin = async () => {
      const { document } = await ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
      return (document as { id: string }).id;
    };
    await write(0, 512);
    const first = await begin();
    const { document } = await ask('POST', `/v1/backups/${first}/commit`);
    const second = await begin();
    await write(0, 512);
    const { text } = await ask('GET', '/metrics');
    expect(text).toContain('tidemark_backups_active 1');
    expect(text).toContain(`tidemark_backup_scratch_bytes{backup="${second}"} ${4 * KIB}`);
    const committed = Date.parse((document as { endedAt: string }).endedAt) / 1000;
    expect(text).toContain(
      `tidemark_backup_last_commit_timestamp_seconds{export="disk",bitmap="nightly"} ${committed}`,
    );
  });

  test('no longer include an export that was removed', async () => {
    const { ask, exports } = await serve();
    expect((await ask('GET', '/metrics')).text).toContain('{export="disk"}');
    await exports.remove('disk');
    expect((await ask('GET', '/metrics')).text).not.toContain('export="disk"');
  });
});
