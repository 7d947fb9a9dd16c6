import { describe, expect, test, vi } from 'vitest';
import { EIO } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { allGranules, BackupServer, type Described, GRANULE, GRANULES } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';
import { FoundDisk } from '../support/found-disk.js';
import { insideOf } from '../support/inside.js';
import { metaData, type RawClient } from '../support/raw-client.js';

const CONTEXT = 'tidemark:overwritten';
const DISK_BYTES = GRANULES * GRANULE;
const [LIST_META_CONTEXT, META_CONTEXT, BLOCK_STATUS] = [9, 4, 7];

/** A server with a disk full of "a". */
async function started(): Promise<BackupServer> {
  const server = await BackupServer.start();
  await server.write(
    Array.from({ length: GRANULES }, (_, i) => i),
    'a',
  );
  return server;
}

/** The contexts of an export that match a query. */
async function listed(client: RawClient, name: string, queries: string[]): Promise<string[]> {
  client.option(LIST_META_CONTEXT, metaData(name, queries));
  const replies = await client.replies();
  return replies.flatMap(({ type, data }) => (type === META_CONTEXT ? [data.toString('utf8', 4)] : []));
}

/** A client of the view that has selected only this context. */
async function reader(server: BackupServer, { id }: Described): Promise<RawClient> {
  const client = await (await server.listen())();
  await client.go(`disk@${id}`, { contexts: [CONTEXT] });
  return client;
}

/** The status of the whole disk, as [length, status] pairs. */
async function statusOf(client: RawClient): Promise<number[][]> {
  client.request({ command: BLOCK_STATUS, length: DISK_BYTES });
  const [chunk] = await client.chunks();
  const words = Array.from({ length: chunk!.payload.length / 4 }, (_, i) => chunk!.payload.readUInt32BE(i * 4));
  return Array.from({ length: (words.length - 1) / 2 }, (_, i) => words.slice(1 + 2 * i, 3 + 2 * i));
}

/** The answer of the view itself, without a client. */
const errnoOf = (context: { status: (offset: number, length: number, list: ExtentList) => Promise<number> }) =>
  context.status(0, DISK_BYTES, new ExtentList(10));

describe('over NBD, tidemark:overwritten', () => {
  test('is listed for a view, also by its namespace, but not for its export', async () => {
    const server = await started();
    const { id, exports } = await server.begin();
    const client = await (await server.listen())();
    await client.greet();
    const all = ['base:allocation', 'qemu:allocation-depth', exports[0]!.context, CONTEXT];
    expect(await listed(client, `disk@${id}`, [])).toEqual(all);
    for (const query of ['tidemark:', CONTEXT]) {
      expect(await listed(client, `disk@${id}`, [query])).toEqual([CONTEXT]);
      expect(await listed(client, 'disk', [query])).toEqual([]);
    }
    expect(await listed(client, `disk@${id}`, ['tidemark:over'])).toEqual([]);
  });

  test('is reported by granule, from the cut on', async () => {
    const server = await started();
    await server.write([3], 'b');
    const client = await reader(server, await server.begin());
    expect(await statusOf(client)).toEqual([[DISK_BYTES, 0]]);
    await server.write([1, 2, 15], 'c');
    expect(await statusOf(client)).toEqual([
      [GRANULE, 0],
      [2 * GRANULE, 1],
      [12 * GRANULE, 0],
      [GRANULE, 1],
    ]);
  });

  test('is reported together with other contexts', async () => {
    const server = await started();
    await server.committed();
    await server.write([5], 'b');
    const { id, exports } = await server.begin();
    const client = await (await server.listen())();
    await client.go(`disk@${id}`, { contexts: [exports[0]!.context, CONTEXT] });
    await server.write([5, 6], 'c');
    client.request({ command: BLOCK_STATUS, offset: 5 * GRANULE, length: GRANULE });
    const chunks = await client.chunks();
    expect(chunks.map(({ payload }) => [payload.readUInt32BE(4), payload.readUInt32BE(8)])).toEqual([
      [GRANULE, 1],
      [GRANULE, 1],
    ]);
  });

  test('is EIO when the view is broken, even while the backup cannot be aborted', async () => {
    const server = await started();
    await server.committed();
    // Mark these regions in the store, so that they can be written after it fails.
    await server.write([0, 1], 'a');
    const backup = await server.begin({ scratchLimitBytes: GRANULE });
    const client = await reader(server, backup);
    await server.write([0], 'b');
    expect(await statusOf(client)).toEqual([
      [GRANULE, 1],
      [15 * GRANULE, 0],
    ]);
    server.store.failWith = 28;
    await server.write([1], 'b');
    client.request({ command: BLOCK_STATUS, length: DISK_BYTES });
    expect(await client.structuredError()).toBe(EIO);
  });
});

test('with a clone, overwritten data is not reported', async () => {
  const disk = new FoundDisk(DISK_BYTES);
  const server = await BackupServer.start({ disks: { disk: { device: disk } } });
  server.scratch.makeClone = async () => disk.clone();
  await server.write(allGranules, 'a');
  const backup = await server.begin();
  await server.write([1], 'b');
  const view = server.view(backup);
  expect((await contentOf(view.device)).equals(Buffer.alloc(DISK_BYTES, 'a'))).toBe(true);
  expect(view.contexts().map(({ name }) => name)).toEqual([
    'base:allocation',
    'qemu:allocation-depth',
    'qemu:dirty-bitmap:nightly',
  ]);
});

test('a read-only export never reports overwritten data', async () => {
  const server = await BackupServer.start({ disks: { disk: { readOnly: true } } });
  const client = await reader(server, await server.begin());
  expect(await statusOf(client)).toEqual([[DISK_BYTES, 0]]);
});

test.each(['commit', 'abort'] as const)('%s ends the view before the next write', async (verb) => {
  const server = await started();
  const backup = await server.begin();
  const context = server.view(backup).context(CONTEXT)!;
  expect(await errnoOf(context)).toBe(0);
  await server[verb](backup);
  expect(await errnoOf(context)).toBe(EIO);
});

test('when a backup fails to begin, nobody has seen its view, and writes copy nothing for it', async () => {
  const server = await started();
  const { copyBeforeWrite } = insideOf(server.exports.get('disk'));
  let seen: unknown;
  vi.spyOn(server.store, 'commit').mockImplementationOnce(async () => {
    seen = { views: server.views(), attached: copyBeforeWrite.hasSnapshots };
    throw new Error('the store fails');
  });
  const answer = await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
  expect(answer).toMatchObject({ status: 503, document: { code: 'STORE_UNUSABLE' } });
  expect(seen).toEqual({ views: [], attached: true });
  expect([server.views(), copyBeforeWrite.hasSnapshots, server.scratch.devices]).toEqual([[], false, []]);
});

test('asking what was overwritten keeps the lease, as reading the view does', async () => {
  const server = await started();
  const backup = await server.begin({ ttlSeconds: 60 });
  const client = await reader(server, backup);
  for (let round = 0; round < 3; round++) {
    await server.pass(50);
    await statusOf(client);
    await server.pass(0);
  }
  expect(await server.look(backup)).toMatchObject({ state: 'active' });
  await server.pass(60);
  expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: 'expired' });
});
