import { expect, test } from 'vitest';
import { OK } from '../../src/base/errno.js';
import { GIB } from '../../src/base/units.js';
import { CopyBeforeWrite } from '../../src/snapshot/copy-before-write.js';
import { MemoryDevice } from '../support/memory-device.js';
import { GRANULE, HOLE, snapshotOf } from '../support/snapshots.js';

test('a change of a large range with many holes does not block the event loop', async () => {
  const disk = new MemoryDevice(4 * GIB);
  const { snapshot } = snapshotOf(disk);
  // Every other granule is settled, so that each granule between them is a separate hole.
  for (let offset = 0; offset < disk.sizeBytes; offset += 2 * GRANULE) expect(snapshot.saveNow(offset, 512)).toBe(OK);
  const filter = new CopyBeforeWrite(disk);
  filter.attach(snapshot);
  let turns = 0;
  let done = false;
  const count = () => {
    turns++;
    if (!done) setImmediate(count);
  };
  setImmediate(count);
  expect(await filter.zero(0, disk.sizeBytes, HOLE)).toBe(OK);
  done = true;
  expect(turns).toBeGreaterThan(1);
});
