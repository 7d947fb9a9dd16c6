import { expect, test } from 'vitest';
import { OK } from '../../src/base/errno.js';
import { ExtentList } from '../../src/base/extents.js';
import { DIRTY } from '../../src/bitmap/dirty-bits.js';
import { PIECE_BYTES } from '../../src/storage/permits/permit-memory.js';
import { PermittedWrites } from '../../src/storage/permits/permitted-writes.js';
import { idleClient } from '../support/idle-client.js';
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
  const client = idleClient();

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

test('a disk that grows in the middle of a piece lets other threads write only what its views have saved', async () => {
  const end = DISK_BYTES / 2 + 512;
  const device = new SharedDisk(end);
  const served = (await memoryRegistry([{ name: 'disk', device, bitmaps: ['nightly'] }])).get('disk');
  const { snapshot } = snapshotOf(device, { pieceBytes: PIECE_BYTES });
  const detach = insideOf(served).copyBeforeWrite.attach(snapshot);
  const thread = new PermittedWrites(served.share(1)!.disk.permits, 0);
  const may = (offset: number, length: number): boolean => {
    const isPermitted = thread.begin(offset, length);
    thread.end(isPermitted);
    return isPermitted;
  };
  await served.resize(DISK_BYTES);
  expect(served.device.writeNow(Buffer.alloc(512), 0, 512, end)).toBe(OK);
  expect(may(end - 512, 512)).toBe(false);
  expect(served.device.writeNow(Buffer.alloc(PIECE_BYTES), 0, PIECE_BYTES, end - 512)).toBe(OK);
  expect(may(end - 512, 512)).toBe(true);
  detach();
});

class SharedDisk extends MemoryDevice {
  readonly shared = { path: 'memory', fd: -1, inMemory: true, endsWithin: undefined };
}

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
