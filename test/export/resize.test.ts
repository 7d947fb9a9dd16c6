import { expect, test } from 'vitest';
import { ExtentList } from '../../src/base/extents.js';
import { DIRTY } from '../../src/bitmap/dirty-bits.js';
import { insideOf } from '../support/inside.js';
import { MemoryDevice } from '../support/memory-device.js';
import { DISK_BYTES, memoryRegistry } from '../support/memory-server.js';
import { snapshotOf } from '../support/snapshots.js';

test('a disk does not shrink while a backup has a view of it, even when no bitmap is frozen', async () => {
  const served = (await memoryRegistry([{ name: 'disk' }])).get('disk');
  const { snapshot } = snapshotOf(insideOf(served).disk);
  const detach = insideOf(served).copyBeforeWrite.attach(snapshot);
  await expect(served.resize(served.sizeBytes / 2)).rejects.toMatchObject({
    code: 'EXPORT_IN_USE',
    message: `"disk" cannot shrink under a backup's view`,
  });
  detach();
  await expect(served.resize(served.sizeBytes / 2)).resolves.toBeUndefined();
});

test('no client can connect while a disk shrinks, and a tail that a bitmap does not cover yet is dirty', async () => {
  const device = new SlowResize(DISK_BYTES);
  const served = (await memoryRegistry([{ name: 'disk', device, bitmaps: ['nightly'] }])).get('disk');
  const client = {
    drain: async () => {},
    describe: () => ({ id: 1, client: '', connectedAt: '', ...served.counters() }),
  };

  const shrunk = served.resize(DISK_BYTES / 2);
  await expect.poll(() => device.waiting).toBe(true);
  expect(served.attach(client)).toBe(false);
  device.goOn();
  await shrunk;
  expect(served.attach(client)).toBe(true);

  const grown = served.resize(DISK_BYTES);
  await expect.poll(() => device.waiting).toBe(true);
  const list = new ExtentList(10);
  await served.context('qemu:dirty-bitmap:nightly')!.status(0, DISK_BYTES, list);
  expect([list.lengths, list.statuses]).toEqual([
    [DISK_BYTES / 2, DISK_BYTES / 2],
    [0, DIRTY],
  ]);
  device.goOn();
  await grown;
});

/** Has its new size at once, but completes the resize only when told to. */
class SlowResize extends MemoryDevice {
  waiting = false;
  goOn = () => {};

  override async resize(sizeBytes: number): Promise<void> {
    await super.resize(sizeBytes);
    this.waiting = true;
    await new Promise<void>((resolve) => {
      this.goOn = resolve;
    });
    this.waiting = false;
  }
}
