import { expect, test, vi } from 'vitest';
import { KIB, MIB } from '../../src/base/units.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { Control } from '../support/control.js';
import { fuseDisk } from '../support/fuse-disk.js';
import { makeImage } from '../support/image.js';
import { scratchFolder } from '../support/scratch-folder.js';
import { dirtyRanges } from '../support/status-map.js';
import { startTidemarkIn } from '../support/tidemark.js';

const GRANULE = 64 * KIB;
/** Not aligned to pages, so that a thread writes it. */
const data = Buffer.alloc(512, 7);

test('a hanging disk blocks neither other disks nor the server, and loses no change across a restart', async () => {
  const slow = await fuseDisk('16M');
  const folder = scratchFolder();
  const specs = [`good=${makeImage(16 * MIB)},bitmap=nightly`, `slow=${slow.path},bitmap=nightly`];
  const server = await startTidemarkIn(folder, specs, ['--cut-timeout', '1', '--stop-timeout', '1']);
  const control = new Control(server.control);
  const [good, hung] = await Promise.all(['good', 'slow'].map((name) => NbdClient.connect(server.uri(name))));
  await good!.write(512, data);
  await hung!.write(512, data);

  slow.hang();
  const hanging = hung!.write(8 * MIB + 512, data).catch(() => 'the server has gone');
  await vi.waitUntil(async () => (await dirtyRanges(server.uri('slow'), 'nightly')).length === 2, { timeout: 30_000 });
  const begun = control.call('POST', '/v1/backups', { exports: ['good', 'slow'], bitmap: 'nightly' });
  await good!.write(1 * MIB + 512, data);
  await expect(begun).rejects.toMatchObject({
    problem: { code: 'CUT_TIMED_OUT', detail: expect.stringMatching(/^"slow"/) },
  });
  await good!.write(2 * MIB + 512, data);
  await good!.disconnect();

  const stopped = server.stop();
  await vi.waitUntil(() => server.output().includes('tidemark: the disk of "slow" did not answer within 1 s'), {
    timeout: 30_000,
  });
  // The kernel does not let the process end before the file system has answered.
  slow.goOn();
  expect(await stopped).toBe(1);
  await hanging;

  const next = await startTidemarkIn(folder, specs);
  const dirty = await dirtyRanges(next.uri('slow'), 'nightly');
  for (const at of [0, 8 * MIB]) {
    expect(dirty.some(({ offset, length }) => offset <= at && at + GRANULE <= offset + length)).toBe(true);
  }
  // The other disk was closed normally.
  expect(await dirtyRanges(next.uri('good'), 'nightly')).toEqual(
    [0, 1 * MIB, 2 * MIB].map((offset) => ({ offset, length: GRANULE })),
  );
  expect(await next.stop()).toBe(0);
});
