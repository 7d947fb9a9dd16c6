import { expect, onTestFinished, test, vi } from 'vitest';
import { BackupServer, GRANULE, GRANULES } from '../support/backup-server.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';
import { expectProblem } from '../support/problem.js';

const DISK_BYTES = GRANULES * GRANULE;
const hint = 'writes continue; check whether its disk hangs, then try again, or allow more time with --cut-timeout';

/** Two disks; "slow" answers only when told to. */
async function twoDisks() {
  const slow = new FaultyDevice(new MemoryDevice(DISK_BYTES));
  const server = await BackupServer.start({ disks: { disk: {}, slow: { device: slow } }, cutTimeoutSeconds: 0.3 });
  return { server, slow };
}

const both = { exports: ['disk', 'slow'], bitmap: 'nightly' };

test('a write that hangs prevents a backup from beginning, but does not hold up writes to another disk', async () => {
  const { server, slow } = await twoDisks();
  slow.hold();
  const hanging = server.write([1], 'a', 'slow');
  await expect.poll(() => slow.heldCalls).toBe(1);
  vi.useFakeTimers({ toFake: ['performance', 'Date', 'setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const begun = server.ask('POST', '/v1/backups', both);
  // The other disk is not even held back.
  for (let granule = 0; granule < GRANULES; granule++) {
    await server.write([granule]);
    await new Promise((resolve) => setImmediate(resolve));
  }
  await vi.advanceTimersByTimeAsync(300);
  expectProblem(await begun, 'CUT_TIMED_OUT', '"slow" did not answer within 0.3 s, so nothing was changed', hint);
  expect([server.views(), server.scratch.devices]).toEqual([[], []]);
  await server.write([2]);
  slow.release();
  await hanging;
  const backup = await server.begin(both);
  expect(await server.viewDirty(backup, 'slow')).toContain(1);
  await server.commit(backup);
});

test('a flush that hangs makes a transaction fail, and its late end does no harm', async () => {
  const { server, slow } = await twoDisks();
  await server.committed(both);
  await server.write([1], 'a', 'slow');
  slow.hold();
  const clear = { actions: [{ type: 'bitmap-clear', export: 'slow', bitmap: 'nightly' }] };
  expectProblem(
    await server.ask('POST', '/v1/transactions', clear),
    'CUT_TIMED_OUT',
    '"slow" did not answer within 0.3 s, so nothing was changed',
    hint,
  );
  slow.release();
  await server.write([2], 'a', 'slow');
  expect(await server.dirty('nightly', 'slow')).toEqual([1, 2]);
  await server.call('POST', '/v1/transactions', clear);
  expect(await server.dirty('nightly', 'slow')).toEqual([]);
});

test('a cut that waits for another one on a hung disk is refused too, and later ones are not', async () => {
  const { server, slow } = await twoDisks();
  slow.hold();
  const hanging = server.write([1], 'a', 'slow');
  await expect.poll(() => slow.heldCalls).toBe(1);
  const answers = await Promise.all([1, 2, 3].map(() => server.ask('POST', '/v1/backups', both)));
  expect(answers.map(({ status }) => status)).toEqual([503, 503, 503]);
  slow.release();
  await hanging;
  await server.commit(await server.begin(both));
});

test('an export whose disk hangs is not resized, and its writes continue when it answers', async () => {
  const { server, slow } = await twoDisks();
  slow.hold();
  const hanging = server.write([1], 'a', 'slow');
  await expect.poll(() => slow.heldCalls).toBe(1);
  expect(await server.ask('POST', '/v1/exports/slow/resize', { sizeBytes: 2 * DISK_BYTES })).toMatchObject({
    status: 503,
  });
  slow.release();
  await hanging;
  await server.write([2], 'a', 'slow');
});
