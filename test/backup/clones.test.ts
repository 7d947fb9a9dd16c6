import { expect, test, vi } from 'vitest';
import { EIO, OK } from '../../src/base/errno.js';
import type { BlockDevice } from '../../src/storage/device/block-device.js';
import { BackupServer, type Described, GRANULE, GRANULES } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';
import { FoundDisk } from '../support/found-disk.js';
import { MemoryDevice } from '../support/memory-device.js';
import { expectProblem } from '../support/problem.js';

const DISK_BYTES = GRANULES * GRANULE;

/** A server of a disk full of "a", whose image can be cloned. */
async function cloning() {
  const disk = new FoundDisk(DISK_BYTES);
  const server = await BackupServer.start({ disks: { disk: { device: disk } } });
  const makeClone = vi.fn(async (): Promise<BlockDevice | undefined> => disk.clone());
  server.scratch.makeClone = makeClone;
  await server.write(
    Array.from({ length: GRANULES }, (_, i) => i),
    'a',
  );
  return { server, makeClone };
}

async function letters(server: BackupServer, backup: Described): Promise<Set<string>> {
  const content = await contentOf(server.view(backup).device);
  return new Set(Array.from({ length: GRANULES }, (_, i) => content.toString('latin1', i * GRANULE, i * GRANULE + 1)));
}

test('a backup whose image is cloned needs no scratch space', async () => {
  const { server } = await cloning();
  for (const [end, shown] of [
    ['commit', 'a'],
    ['abort', 'ab'],
    ['commit', 'ab'],
  ] as const) {
    const backup = await server.begin();
    await server.write([3], 'b');
    expect(await letters(server, backup)).toEqual(new Set(shown));
    expect([server.scratch.devices.length, server.scratch.clones.length]).toEqual([0, 1]);
    expect((await server.look(backup)).scratch).toEqual({ usedBytes: 0 });
    // Nobody notes what is overwritten.
    expect(backup.exports[0]!.disk).toBeUndefined();
    expect(server.view(backup).context('tidemark:overwritten')).toBeUndefined();
    await server[end](backup);
    await vi.waitUntil(() => server.scratch.clones.length === 0);
  }
});

test('an image that cannot be cloned is tried once, while writes go on', async () => {
  const { server, makeClone } = await cloning();
  makeClone.mockImplementation(async () => {
    await server.write([5], 'b');
    return undefined;
  });
  for (let i = 0; i < 3; i++) await server.commit(await server.begin());
  expect(makeClone).toHaveBeenCalledTimes(1);
});

test('old data is copied when an image can no longer be cloned', async () => {
  const { server, makeClone } = await cloning();
  await server.committed();
  makeClone.mockResolvedValue(undefined);
  for (let i = 0; i < 2; i++) {
    const backup = await server.begin();
    await server.write([1], 'b');
    expect([server.scratch.devices.length, server.scratch.clones.length]).toEqual([1, 0]);
    expect(backup.exports[0]!.disk).toBeDefined();
    await server.abort(backup);
  }
  // Once for the attempt, once for the first backup and once for the one that copied.
  expect(makeClone).toHaveBeenCalledTimes(3);
});

test('a clone that is not ready in time makes the begin fail, and is closed when it comes', async () => {
  const { server, makeClone } = await cloning();
  await server.committed();
  Object.assign(server.exports.get('disk'), { cutTimeoutSeconds: 0.3 });
  let come = () => {};
  const coming = new Promise<void>((resolve) => {
    come = resolve;
  });
  makeClone.mockImplementationOnce(async () => {
    await coming;
    return new MemoryDevice(DISK_BYTES);
  });
  expectProblem(
    await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' }),
    'CUT_TIMED_OUT',
    '"disk" did not answer within 0.3 s, so nothing was changed',
  );
  Object.assign(server.exports.get('disk'), { cutTimeoutSeconds: 60 });
  expect(await server.bitmap()).toMatchObject({ busy: false });
  await server.write([1]);
  come();
  await vi.waitUntil(() => makeClone.mock.settledResults.every(({ type }) => type === 'fulfilled'));
  await vi.waitUntil(() => server.scratch.clones.length === 0);
  await server.commit(await server.begin());
});

test('a clone is closed when the backup cannot begin after all', async () => {
  const { server } = await cloning();
  await server.committed();
  server.store.failWith = 28;
  expect((await server.ask('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' })).status).toBe(503);
  server.store.failWith = undefined;
  await server.write([1]);
  expect([server.views(), server.scratch.clones]).toEqual([[], []]);
});

test('a released range of a clone cannot be read', async () => {
  const { server } = await cloning();
  const backup = await server.begin();
  const range = { export: 'disk', offset: 512, length: 2 * GRANULE };
  await server.call('POST', `/v1/backups/${backup.id}/release`, range);
  const { device } = server.view(backup);
  const readAt = (offset: number) => device.readNow(Buffer.alloc(512), 0, 512, offset);
  expect([0, GRANULE, 2 * GRANULE - 512, 2 * GRANULE].map(readAt)).toEqual([OK, EIO, EIO, OK]);
});
