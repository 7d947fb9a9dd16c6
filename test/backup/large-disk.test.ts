import { expect, test } from 'vitest';
import type { Backup } from '../../src/api/backup.js';
import { GIB, KIB } from '../../src/base/units.js';
import { extentsOf } from '../../src/client/block-status-walk.js';
import { NbdClient } from '../../src/client/nbd-client.js';
import { Control } from '../support/control.js';
import { makeImage } from '../support/image.js';
import { startTidemark } from '../support/tidemark.js';

const DISK_BYTES = 100 * GIB;
const GRANULE = 64 * KIB;
const DIRTY_BYTES = GIB;
const COUNT = DIRTY_BYTES / GRANULE;
/** The dirty granules are far apart. This is the hard case, because no two share an extent. */
const STEP = Math.floor(DISK_BYTES / GRANULE / COUNT) * GRANULE;
const AT_ONCE = 64;

/** A block that contains its own offset. */
function block(i: number): Buffer {
  const content = Buffer.alloc(512);
  content.writeBigUInt64LE(BigInt(i * STEP));
  return content;
}

async function each(work: (i: number) => Promise<void>): Promise<void> {
  for (let i = 0; i < COUNT; i += AT_ONCE) await Promise.all(Array.from({ length: AT_ONCE }, (_, j) => work(i + j)));
}

test('a backup of a sparse disk of 100 GiB with 1 GiB dirty, in 16384 pieces', async () => {
  const server = await startTidemark(`disk=${makeImage(DISK_BYTES)}`);
  const control = new Control(server.control);
  const begin = () => control.call<Backup>('POST', '/v1/backups', { exports: ['disk'], bitmap: 'nightly' });
  const first = await begin();
  expect(first.exports).toMatchObject([{ mode: 'full', estimatedReadBytes: 0, dirtyBytes: DISK_BYTES }]);
  await control.call('POST', `/v1/backups/${first.id}/commit`);
  const disk = await NbdClient.connect(server.uri('disk'));
  await each((i) => disk.write(i * STEP, block(i)));
  // Beginning a backup flushes the disk, and how long that takes depends on the disk.
  await disk.flush();

  const backup = await begin();
  expect(backup.exports).toMatchObject([{ mode: 'incremental', base: first.id, dirtyBytes: DIRTY_BYTES }]);

  const { uri, context } = backup.exports[0]!;
  const view = await NbdClient.connect(uri, { contexts: [context] });
  let next = 0;
  let replies = 0;
  for await (const window of view.extents()) {
    replies++;
    for (const { offset, length, status } of extentsOf(window, context)) {
      if (status !== 1) continue;
      expect({ offset, length }).toEqual({ offset: next * STEP, length: GRANULE });
      next++;
    }
  }
  expect(next).toBe(COUNT);
  // The first extents arrive long before the last ones are known.
  expect(replies).toBeGreaterThan(1);

  await each(async (i) => {
    if (i % 16 === 0) await disk.write(i * STEP, Buffer.alloc(512, 'x'));
    expect((await view.read(i * STEP, 512)).equals(block(i))).toBe(true);
  });
  await Promise.all([disk.disconnect(), view.disconnect()]);
  const ended = await control.call<Backup>('POST', `/v1/backups/${backup.id}/commit`);
  expect(ended.state).toBe('committed');
});
