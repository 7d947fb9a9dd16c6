import { expect, test } from 'vitest';
import { ENOSPC, OK, WOULD_BLOCK } from '../../src/base/errno.js';
import { KIB, MIB } from '../../src/base/units.js';
import { BitmapSet } from '../../src/bitmap/bitmap-set.js';
import { ExplainedWrites } from '../../src/bitmap/explained-writes.js';
import { TrackingDevice } from '../../src/bitmap/tracking-device.js';
import { WriteActivity } from '../../src/bitmap/write-activity.js';
import { FilterDevice } from '../../src/storage/device/filter-device.js';
import { FaultyDevice } from '../support/faulty-device.js';
import { MemoryDevice } from '../support/memory-device.js';

const data = Buffer.alloc(512, 7);

function tracked() {
  const bitmaps = new BitmapSet(MIB);
  bitmaps.add({ name: 'a' });
  const disk = new FaultyDevice(new MemoryDevice(MIB));
  return { bitmap: bitmaps.get('a'), disk, device: new TrackingDevice(disk, bitmaps), bitmaps };
}

type Change = (device: TrackingDevice) => unknown;
const changes: [string, Change][] = [
  ['a write', (device) => device.writeNow(data, 0, 512, 0)],
  ['a write that waits', (device) => device.write(data, 0, 512, 0)],
  ['a zero', (device) => device.zero(0, 512, { keepAllocated: false, fastOnly: false })],
  ['a trim', (device) => device.trim(0, 512)],
];

test.each(changes)('%s marks the granules it touches', async (_what, change) => {
  const { bitmap, device } = tracked();
  expect(await change(device)).toBe(OK);
  expect(bitmap.dirtyBytes).toBe(64 * KIB);
});

test.each(changes)('%s is marked before storage sees it', async (_what, change) => {
  const { bitmap, bitmaps, disk } = tracked();
  const seen: number[] = [];
  class Watch extends FilterDevice {
    override writeNow(...call: Parameters<FilterDevice['writeNow']>) {
      seen.push(bitmap.dirtyBytes);
      return super.writeNow(...call);
    }
    override write(...call: Parameters<FilterDevice['write']>) {
      seen.push(bitmap.dirtyBytes);
      return super.write(...call);
    }
    override zero(...call: Parameters<FilterDevice['zero']>) {
      seen.push(bitmap.dirtyBytes);
      return super.zero(...call);
    }
    override trim(...call: Parameters<FilterDevice['trim']>) {
      seen.push(bitmap.dirtyBytes);
      return super.trim(...call);
    }
  }
  await change(new TrackingDevice(new Watch(disk), bitmaps));
  expect(seen).toEqual([64 * KIB]);
});

test('reads mark nothing', () => {
  const { bitmap, device } = tracked();
  device.readNow(Buffer.alloc(512), 0, 512, 0);
  expect(bitmap.dirtyBytes).toBe(0);
});

test('a change stays marked if it fails or has to be repeated', async () => {
  const { bitmap, device, disk } = tracked();
  disk.fail('write', ENOSPC);
  expect(await device.write(data, 0, 512, 0)).toBe(ENOSPC);
  expect(bitmap.dirtyBytes).toBe(64 * KIB);
  disk.deferAll(true);
  expect(device.writeNow(data, 0, 512, 512 * KIB)).toBe(WOULD_BLOCK);
  expect(bitmap.dirtyBytes).toBe(128 * KIB);
});

test('a write that waited for its mark is tried at once, and waits again if storage cannot take it', async () => {
  const { disk, bitmaps } = tracked();
  const waiting = { sliceBytes: MIB, recordNow: () => false, record: bitmaps.record.bind(bitmaps) };
  const taken: string[] = [];
  class Watch extends FilterDevice {
    override writeNow(...call: Parameters<FilterDevice['writeNow']>) {
      taken.push('now');
      return super.writeNow(...call);
    }
    override write(...call: Parameters<FilterDevice['write']>) {
      taken.push('later');
      return super.write(...call);
    }
  }
  const device = new TrackingDevice(new Watch(disk), waiting);
  expect(await device.write(data, 0, 512, 0)).toBe(OK);
  expect(taken).toEqual(['now']);
  disk.deferAll(true);
  expect(await device.write(data, 0, 512, 512)).toBe(OK);
  expect(taken).toEqual(['now', 'now', 'later']);
});

test('a zeroed range explains everything that the kernel may count for it', async () => {
  const { disk, bitmaps } = tracked();
  const activity = new WriteActivity();
  activity.explained = new ExplainedWrites({ parts: new Float64Array(1), ended: new Float64Array(1) }, 0, {
    blockBytes: 512,
  });
  const device = new TrackingDevice(disk, bitmaps, activity);
  expect(await device.zero(0, 64 * KIB, { keepAllocated: false, fastOnly: false })).toBe(OK);
  // A device may count the hole that it refuses, the range of zeroes that it refuses, and the zeroes written instead.
  expect(activity.explained.limit).toBeGreaterThanOrEqual(3 * 128);
});
