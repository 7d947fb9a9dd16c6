import { describe, expect, test } from 'vitest';
import { EIO, ENOSPC, ENXIO } from '../../src/base/errno.js';
import { BackupServer, type Described, GRANULE, underWay } from '../support/backup-server.js';
import { contentOf } from '../support/device-content.js';
import { insideOf } from '../support/inside.js';
import { expectProblem } from '../support/problem.js';

interface Ending {
  readonly reason: string;
  readonly detail: string;
  readonly end: (server: BackupServer, backup: Described) => Promise<unknown>;
  /** Whether the bitmap is inconsistent afterwards. */
  readonly broken?: true;
}

/** All endings except a commit, a restart and the end of the export. */
const endings: Ending[] = [
  {
    reason: 'asked',
    detail: 'it was aborted by its agent',
    end: (server, backup) => server.abort(backup),
  },
  {
    reason: 'asked',
    detail: 'it was aborted by its agent: /backup is full',
    end: (server, backup) => server.abort(backup, '/backup is full'),
  },
  {
    reason: 'expired',
    detail: 'its lease of 60 s ran out',
    end: (server) => server.pass(60),
  },
  {
    reason: 'scratch-full',
    detail:
      'there is no more space for the old data of "disk": raise --scratch-limit or free space in the scratch directory',
    end: async (server) => {
      server.scratch.devices[0]!.fail('write', ENOSPC);
      await server.write([1]);
      await server.pass(0);
    },
  },
  {
    reason: 'scratch-failed',
    // Detected when the backup is about to be committed.
    detail: 'the old data of "disk" could not be kept: ENXIO',
    end: async (server, backup) => {
      server.scratch.devices[0]!.lost = ENXIO;
      expect((await server.ask('POST', `/v1/backups/${backup.id}/commit`)).status).toBe(409);
      await server.pass(0);
    },
  },
  {
    reason: 'scratch-failed',
    detail: 'the old data of "disk" could not be kept: EIO',
    end: async (server) => {
      server.scratch.devices[0]!.fail('write', EIO);
      await server.write([1]);
      await server.pass(0);
    },
  },
  {
    reason: 'bitmap-inconsistent',
    detail: 'a write could not be recorded, so its bitmap is inconsistent',
    end: async (server) => {
      insideOf(server.exports.get('disk')).bitmaps.get('nightly').markInconsistent('the store failed');
      await server.pass(0);
    },
    broken: true,
  },
];

describe.each(endings)('a backup that ends by $reason ($detail)', ({ reason, detail, end, broken }) => {
  test('reports how and when it ended', async () => {
    const { server, backup } = await underWay();
    server.events.length = 0;
    const before = new Date().toISOString();
    await end(server, backup);
    const after = await server.look(backup);
    expect(after).toMatchObject({ id: backup.id, state: 'aborted', endReason: reason, endDetail: detail });
    expect(after.endedAt! >= before, `${after.endedAt} is not before ${before}`).toBe(true);
    expect(after).not.toHaveProperty('expiresAt');
    expect(after.scratch).toEqual({ usedBytes: 0 });
    expect(after.exports).toEqual(backup.exports);
    expect(server.events).toEqual([
      {
        ...{ id: expect.any(Number), type: 'backup-aborted', at: after.endedAt, reason, detail },
        ...{ backup: backup.id, bitmap: 'nightly', exports: ['disk'], seconds: expect.any(Number) },
        ...(after.endedBy && { by: after.endedBy }),
      },
    ]);
    expect((await server.call<{ backups: Described[] }>('GET', '/v1/backups')).backups).toContainEqual(after);
  });

  test('leaves no view and no scratch, and writes continue', async () => {
    const { server, backup } = await underWay();
    const view = server.view(backup);
    await end(server, backup);
    expect(server.views()).toEqual([]);
    expect(server.scratch.devices).toEqual([]);
    expect(view.device.readNow(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
    await server.write([3], 'd');
    expect((await contentOf(server.exports.get('disk').device, 3 * GRANULE, 1)).toString()).toBe('d');
  });

  test('loses no change: the next backup contains all of them', async () => {
    const { server, base, backup } = await underWay();
    await end(server, backup);
    await server.write([9]);
    if (broken) {
      expect((await server.begin()).exports).toMatchObject([{ mode: 'full', fullReason: { code: 'inconsistent' } }]);
      return;
    }
    expect(await server.dirty()).toEqual(expect.arrayContaining([1, 2, 9]));
    const next = await server.begin({ since: base.id });
    expect(next.exports).toMatchObject([{ mode: 'incremental', base: base.id }]);
    expect(await server.viewDirty(next)).toEqual([1, 2, 9]);
  });

  test.each([
    ['commit', 'committed'],
    ['renew', 'renewed'],
    ['release', 'changed'],
  ])('refuses to %s', async (verb, what) => {
    const { server, backup } = await underWay();
    await end(server, backup);
    const body = verb === 'release' ? { export: 'disk', offset: 0, length: GRANULE } : undefined;
    expectProblem(
      await server.ask('POST', `/v1/backups/${backup.id}/${verb}`, body),
      'BACKUP_ENDED',
      `backup ${backup.id} was aborted (${reason}: ${detail}) and cannot be ${what}`,
      'begin another; it covers the same changes',
    );
  });

  test('can be aborted again, which changes nothing', async () => {
    const { server, backup } = await underWay();
    await end(server, backup);
    const after = await server.look(backup);
    expect(await server.abort(backup)).toEqual(after);
    expect(server.events.filter(({ type }) => type === 'backup-aborted')).toHaveLength(1);
  });

  test('removes a bitmap that it created', async () => {
    const server = await BackupServer.start();
    await server.write([1]);
    const backup = await server.begin({ ttlSeconds: 60 });
    await end(server, backup);
    expect(await server.look(backup)).toMatchObject({ state: 'aborted', endReason: reason });
    expect(await server.call('GET', '/v1/exports/disk/bitmaps')).toEqual({ bitmaps: [] });
    expect((await server.begin()).exports).toMatchObject([{ fullReason: { code: 'no-such-bitmap' } }]);
  });
});

describe('a backup that is committed', () => {
  test('reports it, and becomes the base for what was written since it began', async () => {
    const { server, backup } = await underWay();
    const view = server.view(backup);
    server.events.length = 0;
    const after = await server.commit(backup);
    expect(after).toMatchObject({ state: 'committed', scratch: { usedBytes: 0 }, exports: backup.exports });
    for (const absent of ['expiresAt', 'endReason', 'endDetail']) expect(after).not.toHaveProperty(absent);
    expect(server.events).toEqual([
      {
        ...{ id: expect.any(Number), type: 'backup-committed', at: after.endedAt, by: 'unix socket' },
        ...{ backup: backup.id, bitmap: 'nightly', exports: ['disk'], seconds: expect.any(Number) },
        parts: [expect.objectContaining({ export: 'disk', mode: 'incremental' })],
      },
    ]);
    expect(await server.bitmap()).toMatchObject({ base: backup.id, busy: false });
    expect(await server.dirty()).toEqual([2]);
    expect([server.views(), server.scratch.devices]).toEqual([[], []]);
    expect(view.device.readNow(Buffer.alloc(512), 0, 512, 0)).toBe(EIO);
  });

  test('keeps a bitmap that it created', async () => {
    const server = await BackupServer.start();
    const { id } = await server.committed();
    expect(await server.bitmap()).toMatchObject({ base: id, busy: false, recording: true, dirtyBytes: 0 });
  });

  test('can be committed again, which changes nothing', async () => {
    const { server, backup } = await underWay();
    const after = await server.commit(backup);
    await server.write([4]);
    expect(await server.commit(backup)).toEqual(after);
    expect(await server.dirty()).toEqual([2, 4]);
    // Two: that of the base, and this one.
    expect(server.events.filter(({ type }) => type === 'backup-committed')).toHaveLength(2);
  });

  test.each([
    ['abort', 'aborted'],
    ['renew', 'renewed'],
    ['release', 'changed'],
  ])('refuses to %s', async (verb, what) => {
    const { server, backup } = await underWay();
    await server.commit(backup);
    const body = verb === 'release' ? { export: 'disk', offset: 0, length: GRANULE } : undefined;
    expectProblem(
      await server.ask('POST', `/v1/backups/${backup.id}/${verb}`, body),
      'BACKUP_ENDED',
      `backup ${backup.id} was committed and cannot be ${what}`,
      'its views are gone; begin another',
    );
    expect(await server.bitmap()).toMatchObject({ base: backup.id });
  });
});

test('concurrent commits take effect once, and all get the same answer', async () => {
  const { server, backup } = await underWay();
  const answers = await Promise.all(Array.from({ length: 5 }, () => server.commit(backup)));
  for (const answer of answers) expect(answer).toEqual(answers[0]);
  expect(await server.dirty()).toEqual([2]);
});

test('of a concurrent commit and abort, one takes effect and the other is refused', async () => {
  const { server, backup } = await underWay();
  const [commit, abort] = await Promise.all([
    server.ask('POST', `/v1/backups/${backup.id}/commit`),
    server.ask('POST', `/v1/backups/${backup.id}/abort`),
  ]);
  expect([commit.status, abort.status]).toEqual([200, 409]);
  expect(abort.document).toMatchObject({ code: 'BACKUP_ENDED' });
  expect(await server.look(backup)).toMatchObject({ state: 'committed' });
});

test('a view that breaks counts at once, so that a commit in the same turn is refused', async () => {
  const { server, backup } = await underWay();
  const running = server.backups.running(backup.id)!;
  server.scratch.devices[0]!.fail('write', EIO);
  running.assertNotFailed('committed');
  server.exports.get('disk').device.writeNow(Buffer.alloc(GRANULE), 0, GRANULE, 0);
  expect(() => running.assertNotFailed('committed')).toThrow('the old data of "disk" could not be kept: EIO');
});
